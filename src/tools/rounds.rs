//! The rounds of one answer: the model calls the gateway's tools, is told what they gave, and goes on.
//!
//! Invariant: the client gets one answer, with the tokens of all rounds and none of the inner calls; rounds, time and cost
//! have an end, after which the model is told to answer with what it has.

use serde_json::Value;

use super::cite::cited;
use super::outcome::{Citation, ToolOutcome};
use crate::memory::inner;
use crate::project::Tool;
use crate::turn::{Answer, Ending, Message, Part, PartKind, Role, Stop, ToolCall, ToolResult, Usage};

/// The most rounds in which tools are called.
const ROUNDS: u32 = 5;
/// After this long, in milliseconds, no tool is called any more.
const TIME_MS: u64 = 60_000;
/// The longest that one call may take, in milliseconds.
const CALL_MS: u64 = 15_000;
/// The most that the tools of one answer may cost, in nano-dollars: a quarter of a dollar.
const COST: u64 = 250_000_000;
/// The most calls of one round that are carried out.
const CALLS: usize = 8;

/// What a model is told of a call too many.
const TOO_MANY: &str = "Too many calls at once: this one was not carried out.";
/// What a model is told with the last results.
const LAST: &str =
    "\n\nNo more tools of the gateway can be called for this answer. Answer with what you have.";

/// What follows an answer of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// These calls are carried out, each within so many milliseconds; then the model is asked again.
    Run(Vec<(Tool, ToolCall)>, u32),
    /// The answer is over.
    Over,
}

/// The rounds of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    tools: Vec<Tool>,
    /// The client has tools, too.
    has_others: bool,
    began: u64,
    asked: u32,
    cost: u64,
    usage: Option<Usage>,
    /// A provider did not count a round.
    uncounted: bool,
    parts: Vec<Part>,
    sources: Vec<Citation>,
}

impl Rounds {
    /// Rounds that begin now (Unix milliseconds), with these tools; `has_others` says that the client has some, too.
    pub fn new(tools: Vec<Tool>, has_others: bool, now: u64) -> Self {
        Rounds {
            tools,
            has_others,
            began: now,
            asked: 0,
            cost: 0,
            usage: None,
            uncounted: false,
            parts: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Takes what the model said last; says what follows.
    pub fn next(&self, answer: &Answer, now: u64) -> Next {
        let Some(message) = answer.message.as_ref().filter(|_| answer.ending == Ending::Complete) else {
            return Next::Over;
        };
        let calls: Vec<(Tool, ToolCall)> =
            message.tool_calls().filter_map(|call| Some((self.tool(call)?, call.clone()))).collect();
        // Where the client has to carry out calls, it goes on from there.
        let is_mixed = calls.len() < message.tool_calls().count();
        if calls.is_empty() || is_mixed || self.is_last(now) {
            return Next::Over;
        }
        let left = TIME_MS.saturating_sub(now.saturating_sub(self.began)).clamp(1, CALL_MS);
        Next::Run(calls, u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// True where the model is not to call tools any more.
    pub fn is_last(&self, now: u64) -> bool {
        self.asked >= ROUNDS || now.saturating_sub(self.began) >= TIME_MS || self.cost >= COST
    }

    /// True where no tool can be called: it is the last time that the model is asked, and the client has no tools.
    pub fn forbids_calls(&self, now: u64) -> bool {
        self.is_last(now) && !self.has_others
    }

    /// How many of a round's calls are carried out.
    pub const MOST_CALLS: usize = CALLS;

    /// What stands for a call too many.
    pub fn too_many() -> ToolOutcome {
        ToolOutcome::failed(TOO_MANY)
    }

    /// Closes a round: what the model said, and what came of its calls in their order. Gives both as messages for the next.
    pub fn close(
        &mut self,
        answer: Answer,
        outcomes: Vec<(ToolCall, ToolOutcome)>,
        now: u64,
    ) -> (Message, Vec<Message>) {
        self.asked += 1;
        self.count(answer.usage);
        let message = answer.message.unwrap_or_else(|| Message::new(Role::Assistant, Vec::new()));
        self.keep(&message);
        for (_, outcome) in &outcomes {
            self.cost = self.cost.saturating_add(outcome.cost_nano_usd.unwrap_or(0));
        }
        let is_last = self.is_last(now);
        let count = outcomes.len();
        let mut results = Vec::with_capacity(count);
        for (at, (call, outcome)) in outcomes.into_iter().enumerate() {
            let mut text = renumbered(&outcome.text, outcome.citations.len(), self.sources.len());
            self.sources.extend(outcome.citations);
            if is_last && at + 1 == count {
                text.push_str(LAST);
            }
            let result = ToolResult {
                call_id: call.id,
                content: vec![Part::text(text)],
                custom: false,
                is_error: outcome.is_error,
            };
            let part: Part = PartKind::ToolResult(result).into();
            let mut kept = part.clone();
            inner::mark(&mut kept);
            self.parts.push(kept);
            results.push(Message::new(Role::Tool, vec![part]));
        }
        (message, results)
    }

    /// The end: the answer as it is kept, inner calls marked, and as the client gets it.
    pub fn finish(mut self, answer: Answer) -> (Answer, Answer) {
        self.count(answer.usage);
        let usage = self.usage.filter(|_| !self.uncounted);
        let Answer { message, stop, ending, .. } = answer;
        let mut message = match message {
            Some(message) => {
                self.keep(&message);
                message
            }
            None => Message::new(Role::Assistant, Vec::new()),
        };
        // A call that nobody answers is none.
        let answered: Vec<String> = self
            .parts
            .iter()
            .filter_map(|part| match &part.kind {
                PartKind::ToolResult(result) => Some(result.call_id.clone()),
                _ => None,
            })
            .collect();
        let mut parts = std::mem::take(&mut self.parts);
        parts.retain(|part| match &part.kind {
            PartKind::ToolCall(call) => self.tool(call).is_none() || answered.contains(&call.id),
            _ => true,
        });
        let calls =
            parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)) && !inner::is_inner(part));
        let stop = match stop {
            Some(Stop::ToolCalls) if !calls => Some(Stop::End),
            stop => stop,
        };
        for part in &mut parts {
            annotate(part, &self.sources);
        }
        message.parts = parts;
        let seen = inner::visible(message.clone());
        let some = |message: Message| (!message.parts.is_empty()).then_some(message);
        let kept = Answer { message: some(message), usage, stop: stop.clone(), ending };
        let shown = Answer { message: some(seen), usage, stop, ending };
        (kept, shown)
    }

    /// Keeps what was said: calls of the gateway's tools marked, and the thoughts before them.
    fn keep(&mut self, message: &Message) {
        let spoke =
            self.parts.iter().any(|part| matches!(&part.kind, PartKind::Text(text) if !text.is_empty()));
        let calls = message.tool_calls().filter(|call| self.tool(call).is_some()).count();
        let is_inner = calls > 0 && calls == message.tool_calls().count();
        let mut gap = spoke;
        for part in &message.parts {
            let mut part = part.clone();
            match &mut part.kind {
                PartKind::ToolCall(call) if self.tool(call).is_some() => inner::mark(&mut part),
                PartKind::Reasoning(_) if is_inner => inner::mark(&mut part),
                // Clients put the texts of an answer together.
                PartKind::Text(text) if gap && !text.is_empty() => {
                    text.insert_str(0, "\n\n");
                    gap = false;
                }
                _ => {}
            }
            self.parts.push(part);
        }
    }

    fn tool(&self, call: &ToolCall) -> Option<Tool> {
        Tool::from_name(&call.name).filter(|tool| !call.custom && self.tools.contains(tool))
    }

    fn count(&mut self, usage: Option<Usage>) {
        let Some(more) = usage else {
            self.uncounted = true;
            return;
        };
        let known = self.usage.unwrap_or_default();
        self.usage = Some(Usage {
            input: known.input.saturating_add(more.input),
            output: known.output.saturating_add(more.output),
            cached: known.cached.saturating_add(more.cached),
            cache_write: known.cache_write.saturating_add(more.cache_write),
            cache_write_1h: known.cache_write_1h.saturating_add(more.cache_write_1h),
            reasoning: known.reasoning.saturating_add(more.reasoning),
        });
    }
}

/// Names the sources of a text beside it.
fn annotate(part: &mut Part, sources: &[Citation]) {
    let PartKind::Text(text) = &part.kind else { return };
    let places: Vec<Value> = cited(text, sources).iter().map(|cited| cited.for_responses()).collect();
    if !places.is_empty() {
        part.extra.insert("annotations".to_owned(), places.into());
    }
}

/// The text of a tool with its numbered lines counted on from those of the tools before it.
fn renumbered(text: &str, count: usize, before: usize) -> String {
    if before == 0 || count == 0 {
        return text.to_owned();
    }
    let line = |line: &str| {
        let numbered = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match numbered.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest))) {
            Some((number, rest)) if (1..=count).contains(&number) => format!("[{}]{rest}", number + before),
            _ => line.to_owned(),
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, name: &str) -> Part {
        PartKind::ToolCall(ToolCall { id: id.into(), name: name.into(), ..ToolCall::default() }).into()
    }

    fn said(parts: Vec<Part>, stop: Stop) -> Answer {
        let usage = Usage { input: 10, output: 2, ..Usage::default() };
        let message = Some(Message::new(Role::Assistant, parts));
        Answer { message, usage: Some(usage), stop: Some(stop), ending: Ending::Complete }
    }

    fn found(text: &str, urls: &[&str]) -> ToolOutcome {
        let citation = |url: &&str| Citation {
            title: "T".into(),
            url: (*url).into(),
            snippet: String::new(),
            date: None,
        };
        ToolOutcome { citations: urls.iter().map(citation).collect(), ..ToolOutcome::free(text) }
    }

    fn run(rounds: &mut Rounds, answer: Answer, outcome: ToolOutcome) -> Vec<Message> {
        let Next::Run(calls, _) = rounds.next(&answer, 0) else { panic!("no call to run") };
        let outcomes = calls.into_iter().map(|(_, call)| (call, outcome.clone())).collect();
        rounds.close(answer, outcomes, 0).1
    }

    #[test]
    fn the_client_gets_one_answer_with_the_tokens_of_all_rounds_and_no_inner_call() {
        let mut rounds = Rounds::new(vec![Tool::WebSearch], false, 0);
        let first = said(vec![Part::text("I look."), call("a", "web_search")], Stop::ToolCalls);
        run(&mut rounds, first, found("[1] One", &["https://one.example"]));
        let second = said(vec![call("b", "web_search")], Stop::ToolCalls);
        let results = run(&mut rounds, second, found("[1] Two", &["https://two.example"]));
        let PartKind::ToolResult(result) = &results[0].parts[0].kind else { panic!("no result") };
        assert_eq!(result.content, vec![Part::text("[2] Two")]);
        let (kept, shown) = rounds.finish(said(vec![Part::text("So it is [2].")], Stop::End));
        let message = shown.message.unwrap();
        assert_eq!(message.text(), "I look.\n\nSo it is [2].");
        assert_eq!(message.tool_calls().count(), 0);
        assert!(message.parts[1].extra["annotations"].to_string().contains("https://two.example"));
        assert_eq!(shown.usage, Some(Usage { input: 30, output: 6, ..Usage::default() }));
        assert_eq!(kept.message.unwrap().tool_results().count(), 2);
    }

    #[test]
    fn a_round_with_a_call_of_the_client_s_is_the_client_s_and_shows_that_call_only() {
        let rounds = Rounds::new(vec![Tool::WebSearch], true, 0);
        let answer = said(vec![call("a", "web_search"), call("b", "mine")], Stop::ToolCalls);
        assert_eq!(rounds.next(&answer, 0), Next::Over);
        let (kept, shown) = rounds.finish(answer);
        assert_eq!(shown.message.unwrap().parts, vec![call("b", "mine")]);
        assert_eq!(kept.message.unwrap().parts, vec![call("b", "mine")]);
        assert_eq!(shown.stop, Some(Stop::ToolCalls));
    }

    #[test]
    fn a_model_that_never_stops_calling_is_told_to_answer_and_what_it_calls_then_is_left_out() {
        let mut rounds = Rounds::new(vec![Tool::WebSearch], false, 0);
        let again = || said(vec![call("a", "web_search")], Stop::ToolCalls);
        let mut last = Vec::new();
        while rounds.next(&again(), 0) != Next::Over {
            assert!(!rounds.forbids_calls(0));
            last = run(&mut rounds, again(), found("nothing", &[]));
        }
        assert_eq!(rounds.asked, ROUNDS);
        assert!(rounds.forbids_calls(0));
        let PartKind::ToolResult(result) = &last[0].parts[0].kind else { panic!("no result") };
        assert_eq!(result.content, vec![Part::text(format!("nothing{LAST}"))]);
        let late = Rounds::new(vec![Tool::WebSearch], false, 0);
        assert_eq!(late.next(&again(), TIME_MS), Next::Over);
    }

    #[test]
    fn an_answer_that_broke_off_is_not_gone_on_from() {
        let rounds = Rounds::new(vec![Tool::WebSearch], false, 0);
        let mut answer = said(vec![call("a", "web_search")], Stop::ToolCalls);
        answer.ending = Ending::Truncated;
        assert_eq!(rounds.next(&answer, 0), Next::Over);
    }
}
