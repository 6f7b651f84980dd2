// Owns: finding and working out one arithmetic expression in a text.
// Invariant: time is linear in the text and nothing is evaluated as code.

const NUMBER = /\d{1,15}(?:\.\d{1,15})?/y;
const PRECEDENCE = { "+": 1, "-": 1, "*": 2, "/": 2 };
const SPOKEN = [
  [/\bplus\b/gi, "+"],
  [/\bminus\b/gi, "-"],
  [/\b(?:times|multiplied by)\b/gi, "*"],
  [/\bdivided by\b/gi, "/"],
];

/** "What is 2+2?" -> "4"; null if the text asks no sum. */
export function workOut(text) {
  let plain = text.replaceAll("×", "*").replaceAll("÷", "/").replaceAll("−", "-");
  for (const [word, operator] of SPOKEN) plain = plain.replace(word, operator);
  plain = plain.replace(/(?<=[\d)] ?)x(?= ?[\d(])/gi, "*");
  for (const { 0: found, index } of plain.matchAll(/[-\d(][\d\s.+*/()-]*/g)) {
    const expression = found.trim().replace(/[.\s+*/(-]+$/, "");
    if (!looksLikeSum(expression, plain, index)) continue;
    const value = evaluate(expression);
    if (value === null) continue;
    return Number.isFinite(value) ? String(Number(value.toPrecision(12))) : "That division has no answer.";
  }
  return null;
}

// Dates, versions, ranges and paths are made of the same characters as sums.
function looksLikeSum(expression, text, index) {
  if (!/\d[\s)]*[-+*/][\s(-]*\d/.test(expression)) return false;
  if (/^\d{4}-\d{1,2}-\d{1,2}$|^\d{1,2}\/\d{1,2}\/\d{2,4}$/.test(expression)) return false;
  if (
    /[\p{L}\d_./:-]/u.test(text[index - 1] ?? "") ||
    /[\p{L}_]/u.test(text[index + expression.length] ?? "")
  )
    return false;
  if (/[+*]|\s[-/]\s/.test(expression)) return true;
  return (
    /(?:what(?:'s|’s| is)|calculate|compute|how much is|evaluate|solve)[: ]{0,3}$/i.test(
      text.slice(Math.max(0, index - 20), index),
    ) || text.trim().replace(/[=?. ]+$/, "") === expression
  );
}

// Two stacks instead of recursion, so that ten thousand parentheses are no problem.
function evaluate(expression) {
  const values = [],
    operators = [];
  let at = 0,
    wantValue = true,
    sign = 1;
  const apply = () => {
    const right = values.pop(),
      left = values.pop(),
      operator = operators.pop();
    values.push(
      operator === "+"
        ? left + right
        : operator === "-"
          ? left - right
          : operator === "*"
            ? left * right
            : left / right,
    );
  };
  while (at < expression.length) {
    const character = expression[at];
    if (/\s/.test(character)) {
      at++;
    } else if (wantValue && character === "-" && sign === 1) {
      sign = -1;
      at++;
    } else if (wantValue && character === "(") {
      operators.push(sign === -1 ? "-(" : "(");
      sign = 1;
      at++;
    } else if (wantValue) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(expression);
      if (!number) return null;
      values.push(sign * Number(number[0]));
      at = NUMBER.lastIndex;
      sign = 1;
      wantValue = false;
    } else if (character === ")") {
      while (PRECEDENCE[operators.at(-1)]) apply();
      const open = operators.pop();
      if (!open) return null;
      if (open === "-(") values.push(-values.pop());
      at++;
    } else if (PRECEDENCE[character]) {
      while (PRECEDENCE[operators.at(-1)] >= PRECEDENCE[character]) apply();
      operators.push(character);
      at++;
      wantValue = true;
    } else {
      return null;
    }
  }
  if (wantValue) return null;
  while (operators.length) {
    if (!PRECEDENCE[operators.at(-1)]) return null;
    apply();
  }
  return values[0];
}
