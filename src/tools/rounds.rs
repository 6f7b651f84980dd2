//! The rounds of one answer: the model calls the gateway's tools, is told what they gave, and goes on.
//!
//! Invariant: the client gets one answer, with the tokens of all rounds and none of the inner calls; rounds, time and cost
//! have an end, after which the model is told to answer with what it has.

mod shown;
pub mod stream;

use serde_json::Value;

use super::limits::Limits;
use super::outcome::{Citation, ToolOutcome};
use super::steps::step;
use crate::dialect::Dialect;
use crate::memory::inner;
use crate::project::Tool;
use crate::turn::{Answer, Ending, Message, Origin, Part, PartKind, Role, Stop, ToolCall, ToolResult, Usage};

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
    /// These are carried out beside calls of the client's, whose results the model waits for, too; then the answer is over.
    Keep(Vec<(Tool, ToolCall)>, u32),
    /// The answer is over.
    Over,
}

/// On which terms a model has the gateway's tools.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The gateway's tools that the model has.
    pub tools: Vec<Tool>,
    /// The client has tools, too.
    pub has_others: bool,
    /// The dialect of the model's provider.
    pub dialect: Dialect,
    /// How much the model may do.
    pub limits: Limits,
    /// The client wants to see what it did.
    pub shows_steps: bool,
}

/// An answer whose rounds are over.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// As it is kept, inner calls and results marked.
    pub kept: Answer,
    /// As the client sees it.
    pub shown: Answer,
    /// What was done with the tools, where the client wants to see it.
    pub steps: Option<Vec<Value>>,
}

/// The rounds of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    terms: Terms,
    /// What is found beside calls of the client's comes back with their results.
    keeps: bool,
    began: u64,
    asked: u32,
    cost: u64,
    usage: Option<Usage>,
    /// A provider did not count a round.
    uncounted: bool,
    /// Who answers.
    origin: Option<Origin>,
    /// What was said, called and found.
    kept: Vec<Part>,
    /// What of it the client sees.
    shown: Vec<Part>,
    sources: Vec<Citation>,
    /// What was done, where the client wants to see it.
    steps: Vec<Value>,
}

impl Rounds {
    /// Rounds that begin now (Unix milliseconds).
    pub fn new(terms: Terms, now: u64) -> Self {
        Rounds {
            terms,
            keeps: false,
            began: now,
            asked: 0,
            cost: 0,
            usage: None,
            uncounted: false,
            origin: None,
            kept: Vec::new(),
            shown: Vec::new(),
            sources: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// `keeps`: what is found beside calls of the client's is remembered, and comes back with their results.
    #[must_use]
    pub fn keeping(self, keeps: bool) -> Self {
        Rounds { keeps, ..self }
    }

    /// Which round the model is asked for, from 0 on.
    pub fn number(&self) -> u32 {
        self.asked
    }

    /// The model's tokens cost this much, in nano-dollars; `None` where nobody knows.
    pub fn spends(&mut self, cost: Option<u64>) {
        self.cost = self.cost.saturating_add(cost.unwrap_or(0));
    }

    /// Takes what the model said last; says what follows.
    pub fn next(&self, answer: &Answer, now: u64) -> Next {
        let Some(message) = answer.message.as_ref().filter(|_| answer.ending == Ending::Complete) else {
            return Next::Over;
        };
        let calls: Vec<(Tool, ToolCall)> =
            message.tool_calls().filter_map(|call| Some((self.tool(call)?, call.clone()))).collect();
        let is_mixed = calls.len() < message.tool_calls().count();
        if calls.is_empty() || self.is_last(now) || (is_mixed && !self.keeps) {
            return Next::Over;
        }
        let Limits { time_ms, call_ms, .. } = self.terms.limits;
        let left = time_ms.saturating_sub(now.saturating_sub(self.began)).clamp(1, call_ms);
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        // Where the client has to carry out calls, it goes on from there.
        if is_mixed { Next::Keep(calls, left) } else { Next::Run(calls, left) }
    }

    /// True where the model is not to call tools any more.
    pub fn is_last(&self, now: u64) -> bool {
        let limits = self.terms.limits;
        self.asked >= limits.rounds
            || now.saturating_sub(self.began) >= limits.time_ms
            || self.cost >= limits.cost
    }

    /// True where no tool can be called: it is the last time that the model is asked, and the client has no tools.
    pub fn forbids_calls(&self, now: u64) -> bool {
        self.is_last(now) && !self.terms.has_others
    }

    /// How many of a round's calls are carried out.
    pub fn most_calls(&self) -> usize {
        self.terms.limits.calls
    }

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
            self.spends(outcome.cost_nano_usd);
        }
        let last = if self.is_last(now) { LAST } else { "" };
        let results = self.find(outcomes, last);
        (message, results.into_iter().map(|part| Message::new(Role::Tool, vec![part])).collect())
    }

    /// The end. `outcomes` are of the calls that
    /// were carried out beside the client's.
    pub fn finish(mut self, answer: Answer, outcomes: Vec<(ToolCall, ToolOutcome)>) -> Finished {
        self.count(answer.usage);
        let Answer { message, stop, ending, .. } = answer;
        let mut message = message.unwrap_or_else(|| Message {
            origin: self.origin.clone(),
            ..Message::new(Role::Assistant, Vec::new())
        });
        self.keep(&message);
        self.find(outcomes, "");
        let usage = self.usage.filter(|_| !self.uncounted);
        // A call that nobody answers is none.
        let answered: Vec<String> = self
            .kept
            .iter()
            .filter_map(|part| match &part.kind {
                PartKind::ToolResult(result) => Some(result.call_id.clone()),
                _ => None,
            })
            .collect();
        let mut kept = std::mem::take(&mut self.kept);
        kept.retain(|part| match &part.kind {
            PartKind::ToolCall(call) => self.tool(call).is_none() || answered.contains(&call.id),
            _ => true,
        });
        let calls = self.shown.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
        let stop = match stop {
            Some(Stop::ToolCalls) if !calls => Some(Stop::End),
            // Google says so, and others where a call was forced.
            Some(Stop::End) | None if calls => Some(Stop::ToolCalls),
            stop => stop,
        };
        let shown = Message { parts: self.shown, ..message.clone() };
        message.parts = kept;
        let some = |message: Message| (!message.parts.is_empty()).then_some(message);
        let kept = Answer { message: some(message), usage, stop: stop.clone(), ending };
        let shown = Answer { message: some(shown), usage, stop, ending };
        Finished { kept, shown, steps: self.terms.shows_steps.then_some(self.steps) }
    }

    /// Keeps what was said: calls of the gateway's tools marked, and the thoughts before them.
    fn keep(&mut self, message: &Message) {
        let spoke =
            self.shown.iter().any(|part| matches!(&part.kind, PartKind::Text(text) if !text.is_empty()));
        self.shown.extend(shown::parts(message, self, spoke));
        let calls = message.tool_calls().filter(|call| self.tool(call).is_some()).count();
        let is_inner = calls > 0 && calls == message.tool_calls().count();
        let mut gap = spoke;
        for part in &message.parts {
            let mut part = part.clone();
            match &part.kind {
                PartKind::ToolCall(call) if self.tool(call).is_some() => inner::mark(&mut part),
                PartKind::Reasoning(_) if is_inner => inner::mark(&mut part),
                PartKind::Text(text) => {
                    let is_first = !text.is_empty() && std::mem::replace(&mut gap, false);
                    part = shown::said(part, is_first, &self.sources);
                }
                _ => {}
            }
            self.kept.push(part);
        }
        self.origin = message.origin.clone().or(self.origin.take());
    }

    /// Keeps what calls gave; gives the results for the model, the last with `last` behind it.
    fn find(&mut self, outcomes: Vec<(ToolCall, ToolOutcome)>, last: &str) -> Vec<Part> {
        let count = outcomes.len();
        let mut results = Vec::with_capacity(count);
        for (at, (call, outcome)) in outcomes.into_iter().enumerate() {
            let mut text = renumbered(&outcome.text, outcome.citations.len(), self.sources.len());
            if self.terms.shows_steps {
                self.steps.push(step(&call, &outcome, &text));
            }
            self.sources.extend(outcome.citations);
            if at + 1 == count {
                text.push_str(last);
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
            self.kept.push(kept);
            results.push(part);
        }
        results
    }

    fn tool(&self, call: &ToolCall) -> Option<Tool> {
        Tool::from_name(&call.name).filter(|tool| !call.custom && self.terms.tools.contains(tool))
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
    use crate::seal;
    use crate::turn::Reasoning;

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

    fn begun(has_others: bool) -> Rounds {
        let tools = vec![Tool::WebSearch];
        Rounds::new(
            Terms {
                tools,
                has_others,
                dialect: Dialect::Chat,
                limits: Limits::default(),
                shows_steps: false,
            },
            0,
        )
    }

    fn thought(text: &str, seal: &str) -> Part {
        let sealed = Some(seal.to_owned());
        PartKind::Reasoning(Reasoning { text: text.into(), sealed, id: None }).into()
    }

    #[test]
    fn the_client_gets_one_answer_with_the_tokens_of_all_rounds_and_no_inner_call() {
        let mut rounds = begun(false);
        let first = said(vec![Part::text("I look."), call("a", "web_search")], Stop::ToolCalls);
        run(&mut rounds, first, found("[1] One", &["https://one.example"]));
        let second = said(vec![call("b", "web_search")], Stop::ToolCalls);
        let results = run(&mut rounds, second, found("[1] Two", &["https://two.example"]));
        let PartKind::ToolResult(result) = &results[0].parts[0].kind else { panic!("no result") };
        assert_eq!(result.content, vec![Part::text("[2] Two")]);
        let Finished { kept, shown, .. } =
            rounds.finish(said(vec![Part::text("So it is [2].")], Stop::End), Vec::new());
        let message = shown.message.unwrap();
        assert_eq!(message.text(), "I look.\n\nSo it is [2].");
        assert_eq!(message.tool_calls().count(), 0);
        assert!(message.parts[1].extra["annotations"].to_string().contains("https://two.example"));
        assert_eq!(shown.usage, Some(Usage { input: 30, output: 6, ..Usage::default() }));
        assert_eq!(kept.message.unwrap().tool_results().count(), 2);
    }

    #[test]
    fn a_round_with_a_call_of_the_client_s_is_the_client_s_and_shows_that_call_only() {
        let rounds = begun(true);
        let answer = said(vec![call("a", "web_search"), call("b", "mine")], Stop::ToolCalls);
        assert_eq!(rounds.next(&answer, 0), Next::Over);
        let Finished { kept, shown, .. } = rounds.finish(answer, Vec::new());
        assert_eq!(shown.message.unwrap().parts, vec![call("b", "mine")]);
        assert_eq!(kept.message.unwrap().parts, vec![call("b", "mine")]);
        assert_eq!(shown.stop, Some(Stop::ToolCalls));
    }

    #[test]
    fn with_memory_what_is_found_beside_the_client_s_calls_is_kept_with_them_and_not_shown() {
        let rounds = begun(true).keeping(true);
        let answer = said(vec![call("a", "web_search"), call("b", "mine")], Stop::End);
        let Next::Keep(calls, _) = rounds.next(&answer, 0) else { panic!("nothing is kept") };
        let outcomes = calls.into_iter().map(|(_, call)| (call, found("[1] One", &[]))).collect();
        let Finished { kept, shown, .. } = rounds.finish(answer, outcomes);
        assert_eq!(shown.message.unwrap().parts, vec![call("b", "mine")]);
        assert_eq!(shown.stop, Some(Stop::ToolCalls));
        let kept = kept.message.unwrap();
        assert_eq!(inner::visible(kept.clone()).parts, vec![call("b", "mine")]);
        let unfolded = inner::unfolded(kept);
        assert_eq!(unfolded[0].parts, vec![call("a", "web_search"), call("b", "mine")]);
        let PartKind::ToolResult(result) = &unfolded[1].parts[0].kind else { panic!("no result") };
        assert_eq!((result.call_id.as_str(), &result.content), ("a", &vec![Part::text("[1] One")]));
        assert_eq!(unfolded.len(), 2);
    }

    #[test]
    fn a_thought_that_led_to_inner_calls_alone_is_shown_without_its_seal_and_kept_with_it() {
        let mut rounds = begun(false);
        let inner = vec![thought("", "s0"), thought("Look it up.", "s1"), call("a", "web_search")];
        run(&mut rounds, said(inner, Stop::ToolCalls), found("nothing", &[]));
        let last = vec![thought("Now I know.", "s2"), Part::text("So.")];
        let Finished { kept, shown, .. } = rounds.finish(said(last, Stop::End), Vec::new());
        let seals = |message: &Message| {
            let seal = |part: &Part| match &part.kind {
                PartKind::Reasoning(reasoning) => reasoning.sealed.clone(),
                _ => None,
            };
            message.parts.iter().filter_map(seal).collect::<Vec<_>>()
        };
        assert_eq!(seals(&kept.message.unwrap()), ["s0", "s1", "s2"]);
        // The first is followed by a thought that is shown, for all that a stream knew when it came to that.
        assert_eq!(seals(&shown.message.unwrap()), ["s0", &seal::of_nobody(Dialect::Chat), "s2"]);
    }

    #[test]
    fn the_sources_of_a_text_behind_a_gap_move_with_it() {
        let mut rounds = begun(false);
        let first = said(vec![Part::text("I look."), call("a", "web_search")], Stop::ToolCalls);
        run(&mut rounds, first, found("[1] One", &["https://one.example"]));
        let mut text = Part::text("So [1].");
        let own = serde_json::json!({"type": "url_citation", "url": "https://own.example", "start_index": 0, "end_index": 2});
        text.extra.insert("annotations".into(), serde_json::json!([own]));
        let Finished { shown, .. } = rounds.finish(said(vec![text], Stop::End), Vec::new());
        let part = shown.message.unwrap().parts.remove(1);
        let places: Vec<_> = crate::dialect::citation::citations(&part)
            .into_iter()
            .map(|source| (source.url, source.place))
            .collect();
        assert_eq!(
            places,
            [
                ("https://own.example".to_owned(), Some((2, 4))),
                ("https://one.example".to_owned(), Some((5, 8)))
            ]
        );
    }

    #[test]
    fn a_model_that_never_stops_calling_is_told_to_answer_and_what_it_calls_then_is_left_out() {
        let mut rounds = begun(false);
        let again = || said(vec![call("a", "web_search")], Stop::ToolCalls);
        let mut last = Vec::new();
        while rounds.next(&again(), 0) != Next::Over {
            assert!(!rounds.forbids_calls(0));
            last = run(&mut rounds, again(), found("nothing", &[]));
        }
        assert_eq!(rounds.asked, Limits::default().rounds);
        assert!(rounds.forbids_calls(0));
        let PartKind::ToolResult(result) = &last[0].parts[0].kind else { panic!("no result") };
        assert_eq!(result.content, vec![Part::text(format!("nothing{LAST}"))]);
        let late = begun(false);
        assert_eq!(late.next(&again(), Limits::default().time_ms), Next::Over);
    }

    #[test]
    fn the_model_s_tokens_count_towards_the_cost_as_the_tools_do() {
        let answer = said(vec![call("a", "web_search")], Stop::ToolCalls);
        let half = Limits::default().cost / 2;
        let mut rounds = begun(false);
        rounds.spends(Some(half));
        let outcome = ToolOutcome { cost_nano_usd: Some(half), ..found("nothing", &[]) };
        let results = run(&mut rounds, answer.clone(), outcome);
        let PartKind::ToolResult(result) = &results[0].parts[0].kind else { panic!("no result") };
        assert_eq!(result.content, vec![Part::text(format!("nothing{LAST}"))]);
        assert_eq!(rounds.next(&answer, 0), Next::Over);
    }

    #[test]
    fn an_answer_that_broke_off_is_not_gone_on_from() {
        let mut answer = said(vec![call("a", "web_search")], Stop::ToolCalls);
        answer.ending = Ending::Truncated;
        assert_eq!(begun(false).next(&answer, 0), Next::Over);
    }
}
