// Owns the judging of answers: what counts as right for each type of question, and how a verdict is read.
// Invariant: the criteria are the benchmark's own (the wording is ours); a verdict that is neither yes nor no is none.

const CRITERIA = {
  default:
    "The response is right if it contains the correct answer, says the same in other words, or goes through every step " +
    "that leads to it. It is wrong if it gives only a part of what the correct answer says.",
  "temporal-reasoning":
    "The response is right if it contains the correct answer, says the same in other words, or goes through every step " +
    "that leads to it. It is wrong if it gives only a part of what the correct answer says. Where a number of days, " +
    "weeks or months is asked for, a result that is off by one is right as well.",
  "knowledge-update":
    "The answer changed in the course of time. The response is right if it gives the updated answer below as the one " +
    "that holds now. That it mentions the earlier state beside it does no harm.",
  "single-session-preference":
    "Below is not an answer but a description of the response that this user would like. The response is right if it " +
    "remembers what the user said of themselves and makes proper use of it. It need not do everything that the " +
    "description names.",
  abstention:
    "The question cannot be answered from what the user said; below it says why. The response is right if it recognises " +
    "that: it says that the information was not given or does not suffice, or that something similar was said but not " +
    "this. It is wrong if it answers the question all the same.",
};

const LABELS = {
  "single-session-preference": "Description of the wanted response",
  abstention: "Why it cannot be answered",
};

/** What the judge is asked about one response. */
export function judgement({ type, abstention, question, answer }, response) {
  const kind = abstention ? "abstention" : type;
  return [
    "You judge the response of an assistant that has a memory of earlier conversations with its user.",
    CRITERIA[kind] ?? CRITERIA.default,
    `Question:\n${question}`,
    `${LABELS[kind] ?? "Correct answer"}:\n${answer}`,
    `Response:\n${response}`,
    "Is the response right? Reply with one word, yes or no.",
  ].join("\n\n");
}

/** True for yes, false for no, null for anything else. */
export function verdictOf(text) {
  const word = /^[\s"'*`.]*(yes|no)\b/i.exec(text)?.[1];
  return word === undefined ? null : word.toLowerCase() === "yes";
}
