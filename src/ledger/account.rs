//! The account of one request while it is served: what it asks, what it got, and the row that this makes.
//!
//! Invariant: whatever the end, the account makes one settled row. What the provider counted is taken as it is, zeros too;
//! what it did not count is estimated from what was sent and what came, and the row says so. What never reached a provider,
//! or was refused there, used nothing.

use super::estimate;
use super::failed_attempt::FailedAttempt;
use super::prices::Prices;
use super::row::{Outcome, Row};
use crate::carriage::Stopped;
use crate::dialect::fields::number_at;
use crate::error::{Error, Kind};
use crate::operation::Operation;
use crate::redact;
use crate::route::CredentialSource;
use crate::tokens;
use crate::turn::{Answer, Ending, Usage};

/// A request's beginning.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Names the row.
    pub id: String,
    /// The id that the answer carries.
    pub request_id: String,
    /// The project of the key.
    pub project: String,
    /// The key's public id.
    pub key_id: String,
    /// When it came, in Unix milliseconds.
    pub started_at: u64,
    /// What it wants.
    pub operation: Operation,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
}

/// What is known of one request.
#[derive(Clone, Debug)]
pub struct Account {
    row: Row,
    /// The body that went to the provider; its tokens are estimated only where nobody counts them.
    sent: Option<Vec<u8>>,
    /// Tokens of the prompts of rounds that are over, estimated.
    sent_before: u64,
    heard: Option<Heard>,
    /// What the gateway's own tools cost, in nano-dollars; `None` where nobody knows.
    tools: Option<u64>,
    failed: Vec<FailedAttempt>,
}

/// What was heard of an answer.
#[derive(Clone, Copy, Debug)]
struct Heard {
    usage: Option<Usage>,
    /// Tokens of what was said, estimated; 0 where the provider's count is whole.
    said: u64,
    ending: Ending,
}

impl Heard {
    /// True when the provider's count is all there is to know.
    fn is_counted(usage: Option<Usage>, ending: Ending) -> bool {
        usage.is_some() && matches!(ending, Ending::Complete | Ending::Unread)
    }
}

impl Account {
    /// The account of a request that has come in.
    pub fn open(opening: Opening) -> Self {
        let row = Row {
            id: opening.id,
            project: opening.project,
            started_at: opening.started_at,
            operation: None,
            // A client may choose it, and anything else that it has at hand.
            request_id: redact::text(&opening.request_id).into_owned(),
            key_id: opening.key_id,
            source: "",
            endpoint: opening.operation.path(),
            dialect: opening.operation.dialect().word(),
            provider: String::new(),
            model: String::new(),
            streams: false,
            outcome: Outcome::Pending,
            status: None,
            usage: Usage::default(),
            estimated: false,
            cost: Some(0),
            latency_ms: None,
            ttft_ms: None,
            attempts: 0,
            failed_attempts: Vec::new(),
            failed_tokens: 0,
            error: None,
            thread: None,
            resource: None,
            message_ids: Vec::new(),
            memory_tokens: 0,
            trace_id: opening.trace_id,
        };
        Account { row, sent: None, sent_before: 0, heard: None, tools: Some(0), failed: Vec::new() }
    }

    /// The row's name.
    pub fn id(&self) -> &str {
        &self.row.id
    }

    /// What the request calls its model, until a route says more.
    pub fn asked_for(&mut self, model: &str, streams: bool) {
        const LONGEST: usize = 200;
        self.row.model = redact::text(&model.chars().take(LONGEST).collect::<String>()).into_owned();
        self.row.streams = streams;
    }

    /// Where the request goes, and with whose credential.
    pub fn routed(&mut self, provider: &str, model: &str, source: CredentialSource) {
        provider.clone_into(&mut self.row.provider);
        self.row.model = redact::text(model).into_owned();
        self.row.source = source.as_str();
    }

    /// Which conversation it belongs to.
    pub fn belongs_to(&mut self, thread: &str, resource: &str) {
        self.row.thread = Some(thread.to_owned());
        self.row.resource = Some(resource.to_owned());
    }

    /// How many tokens memory put before the model.
    pub fn remembers(&mut self, tokens: u64) {
        self.row.memory_tokens = tokens;
    }

    /// A tool of the gateway's was used, at this cost in nano-dollars; `None` where nobody knows.
    pub fn spends(&mut self, cost: Option<u64>) {
        self.tools = plus(self.tools, cost);
    }

    /// The request goes to the provider now, with this body.
    pub fn send(&mut self, body: Vec<u8>) {
        self.sent = Some(body);
        self.row.attempts += 1;
    }

    /// An attempt failed, and its answer, if there was one, goes to nobody.
    pub fn attempt_failed(&mut self, failed: FailedAttempt) {
        self.failed.push(FailedAttempt { model: redact::text(&failed.model).into_owned(), ..failed });
    }

    /// A round is over, and the model is asked again: what is sent next comes on top of what was sent.
    pub fn goes_round(&mut self) {
        self.sent_before = self.sent_tokens();
        self.sent = None;
    }

    /// The open row, which stands for the request should nobody live to settle it.
    pub fn draft(&self, prices: &Prices) -> Row {
        let mut row = self.row.clone();
        row.usage.input = self.sent_tokens();
        row.estimated = true;
        row.cost = prices.cost(&row.provider, &row.model, &row.usage);
        row
    }

    /// The prompt's tokens, estimated.
    fn sent_tokens(&self) -> u64 {
        let last = match &self.sent {
            Some(body) if self.row.endpoint != Operation::CountTokens.path() => estimate::input_of(body),
            _ => 0,
        };
        self.sent_before.saturating_add(last)
    }

    /// The first byte of a streamed answer is there.
    pub fn first_byte(&mut self, now: u64) {
        if self.row.streams && self.row.ttft_ms.is_none() {
            self.row.ttft_ms = Some(now.saturating_sub(self.row.started_at));
        }
    }

    /// What was said, as far as it was heard.
    pub fn hear(&mut self, answer: &Answer) {
        let said = match &answer.message {
            Some(message) if !Heard::is_counted(answer.usage, answer.ending) => tokens::of_message(message),
            _ => 0,
        };
        self.heard = Some(Heard { usage: answer.usage, said, ending: answer.ending });
    }

    /// The whole answer to a request that is none for a conversation: vectors, or a count.
    pub fn hear_counts(&mut self, body: &[u8]) {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let usage = value.get("usage").filter(|usage| usage.is_object()).map(|usage| Usage {
            input: number_at(usage, &["prompt_tokens"]).max(number_at(usage, &["total_tokens"])),
            ..Usage::default()
        });
        let ending = if value.is_object() { Ending::Complete } else { Ending::Failed };
        self.heard = Some(Heard { usage, said: 0, ending });
    }

    /// The row of a request that the client was told of with an error in the place of an answer.
    pub fn refused(mut self, error: &Error, now: u64, prices: &Prices) -> Row {
        let was_sent = self.sent.is_some() || self.sent_before > 0;
        self.row.outcome = match error.kind() {
            Kind::ClientGone => Outcome::Aborted,
            Kind::Timeout => Outcome::TimedOut,
            Kind::Upstream if error.code() == Some("upstream_incomplete") => Outcome::Truncated,
            Kind::Internal | Kind::Upstream | Kind::Refused(_) => Outcome::Failed,
            _ if was_sent => Outcome::Failed,
            _ => Outcome::Refused,
        };
        self.row.error = Some(match error.kind() {
            // The provider's words may repeat the conversation's.
            Kind::Refused(status) => provider_refused(status),
            _ => redact::text(error.message()).into_owned(),
        });
        // A provider that was still at work charges for it, whoever stopped waiting.
        let was_at_work =
            matches!(self.row.outcome, Outcome::Aborted | Outcome::TimedOut | Outcome::Truncated) && was_sent;
        if was_at_work || self.heard.is_some_and(|heard| heard.usage.is_some() || heard.said > 0) {
            self.count();
        }
        self.settle(error.status(), now, prices)
    }

    /// The row of a request whose answer began with this status and stopped like this.
    pub fn ended(mut self, status: u16, stopped: Stopped, now: u64, prices: &Prices) -> Row {
        let ending = self.heard.map(|heard| heard.ending);
        if !(200..300).contains(&status) {
            self.row.outcome = Outcome::Failed;
            self.row.error = Some(provider_refused(status));
            return self.settle(status, now, prices);
        }
        self.count();
        (self.row.outcome, self.row.error) = match (ending, stopped) {
            (Some(Ending::Complete), _) => (Outcome::Complete, None),
            (_, Stopped::ClientGone) => (Outcome::Aborted, Some("The client left.".to_owned())),
            (_, Stopped::Failed) => (Outcome::Failed, Some("The gateway failed.".to_owned())),
            (_, Stopped::Silent) => {
                (Outcome::TimedOut, Some("The provider was silent for too long.".to_owned()))
            }
            (Some(Ending::Failed), _) => {
                (Outcome::Failed, Some("The provider failed inside its answer.".to_owned()))
            }
            (Some(Ending::Unread), Stopped::Ended) => (Outcome::Complete, None),
            (_, _) => (Outcome::Truncated, Some("The provider broke off.".to_owned())),
        };
        self.settle(status, now, prices)
    }

    /// Counts what was used: as the provider says, and what it does not say as an estimate.
    fn count(&mut self) {
        let Heard { usage, said, ending } =
            self.heard.unwrap_or(Heard { usage: None, said: 0, ending: Ending::Truncated });
        match usage {
            Some(counted) if Heard::is_counted(usage, ending) => self.row.usage = counted,
            // What was counted before the end, as Messages does, leaves out what came after.
            Some(usage) => {
                self.row.usage = Usage { output: usage.output.max(said), ..usage };
                self.row.estimated = true;
            }
            None if self.row.endpoint == Operation::CountTokens.path() => {}
            None => {
                self.row.usage = Usage { input: self.sent_tokens(), output: said, ..Usage::default() };
                self.row.estimated = true;
            }
        }
    }

    /// The row of a request whose answer went to the client unseen; it counts nothing.
    pub fn passed(mut self, status: u16, now: u64, prices: &Prices) -> Row {
        self.row.outcome = if (200..300).contains(&status) { Outcome::Complete } else { Outcome::Failed };
        // What it used, nobody knows.
        Row { cost: None, ..self.settle(status, now, prices) }
    }

    fn settle(mut self, status: u16, now: u64, prices: &Prices) -> Row {
        self.row.status = Some(status);
        self.row.latency_ms = Some(now.saturating_sub(self.row.started_at));
        let asked = prices.cost(&self.row.provider, &self.row.model, &self.row.usage);
        let failed = self.failed.iter().map(|failed| failed.cost(prices)).fold(Some(0), plus);
        self.row.cost = plus(plus(asked, self.tools), failed);
        self.row.failed_attempts = self.failed.iter().map(|failed| failed.shown(prices)).collect();
        self.row.failed_tokens = self.failed.iter().map(FailedAttempt::tokens).sum();
        self.row
    }
}

/// A sum of which a part may be unknown.
fn plus(cost: Option<u64>, more: Option<u64>) -> Option<u64> {
    cost.zip(more).map(|(cost, more)| cost.saturating_add(more))
}

fn provider_refused(status: u16) -> String {
    format!("The provider answered with status {status}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::refusal::{cut_short, too_slow, translated, unreachable};
    use crate::turn::{Message, Part, Role};

    const SENT: &[u8] = br#"{"messages":[{"role":"user","content":"hello"}]}"#;
    const PROMPT: u64 = 12;
    const COUNTED: Usage =
        Usage { input: 100, output: 20, cached: 40, cache_write: 0, cache_write_1h: 0, reasoning: 5 };

    fn account(operation: Operation) -> Account {
        let mut account = Account::open(Opening {
            id: "a".into(),
            request_id: "req_1".into(),
            project: "p".into(),
            key_id: "key_1".into(),
            started_at: 1_000,
            operation,
            trace_id: None,
        });
        account.asked_for("openai/gpt-5.4-mini", true);
        account
    }

    fn sent() -> Account {
        let mut account = account(Operation::Answer(Dialect::Chat));
        account.routed("openai", "gpt-5.4-mini", CredentialSource::Deployment);
        account.send(SENT.to_vec());
        account
    }

    fn answer(words: &str, usage: Option<Usage>, ending: Ending) -> Answer {
        let message = (!words.is_empty()).then(|| Message::new(Role::Assistant, vec![Part::text(words)]));
        Answer { message, usage, stop: None, ending }
    }

    fn used(row: &Row) -> (Outcome, u16, u64, u64, bool, Option<u64>) {
        (row.outcome, row.status.unwrap_or(0), row.usage.input, row.usage.output, row.estimated, row.cost)
    }

    fn cost(input: u64, output: u64) -> Option<u64> {
        Some(input * 750 + output * 4_500)
    }

    #[test]
    fn the_open_row_stands_for_what_was_asked() {
        let mut account = account(Operation::Answer(Dialect::Chat));
        account.routed("openai", "gpt-5.4-mini", CredentialSource::Caller);
        account.send(SENT.to_vec());
        let row = account.draft(&Prices::default());
        assert_eq!(used(&row), (Outcome::Pending, 0, PROMPT, 0, true, cost(PROMPT, 0)));
        assert_eq!((row.latency_ms, row.attempts, row.source), (None, 1, "caller"));
    }

    #[test]
    fn the_prompts_of_all_rounds_are_estimated_where_nobody_counts_them() {
        let mut account = sent();
        account.goes_round();
        account.send(SENT.to_vec());
        // Asked twice in the same round: what was sent once is charged once.
        account.send(SENT.to_vec());
        assert_eq!(account.draft(&Prices::default()).usage.input, 2 * PROMPT);
        account.hear(&answer("", None, Ending::Complete));
        let row = account.ended(200, Stopped::Ended, 2_000, &Prices::default());
        assert_eq!((row.usage.input, row.attempts, row.estimated), (2 * PROMPT, 3, true));
    }

    #[test]
    fn every_end_of_a_streamed_answer_makes_its_row() {
        use Ending::{Complete, Failed, Truncated, Unread};
        use Stopped::{ClientGone, Cut, Ended, Silent};
        // Ten words are ten tokens, and four frame a message.
        let words = "word word word word word word word word word word";
        let said = 14;
        for (usage, ending, stopped, expected) in [
            (Some(COUNTED), Complete, Ended, (Outcome::Complete, 100, 20, false)),
            (Some(COUNTED), Complete, ClientGone, (Outcome::Complete, 100, 20, false)),
            (Some(COUNTED), Complete, Cut, (Outcome::Complete, 100, 20, false)),
            (Some(Usage::default()), Complete, Ended, (Outcome::Complete, 0, 0, false)),
            (None, Complete, Ended, (Outcome::Complete, PROMPT, said, true)),
            (None, Unread, Ended, (Outcome::Complete, PROMPT, said, true)),
            (Some(COUNTED), Unread, Ended, (Outcome::Complete, 100, 20, false)),
            (None, Truncated, ClientGone, (Outcome::Aborted, PROMPT, said, true)),
            (
                Some(Usage { output: 1, ..COUNTED }),
                Truncated,
                ClientGone,
                (Outcome::Aborted, 100, said, true),
            ),
            (None, Truncated, Silent, (Outcome::TimedOut, PROMPT, said, true)),
            (None, Truncated, Cut, (Outcome::Truncated, PROMPT, said, true)),
            (None, Truncated, Ended, (Outcome::Truncated, PROMPT, said, true)),
            (None, Failed, Ended, (Outcome::Failed, PROMPT, said, true)),
            (Some(COUNTED), Failed, Ended, (Outcome::Failed, 100, 20, true)),
            (None, Truncated, Stopped::Failed, (Outcome::Failed, PROMPT, said, true)),
            (Some(COUNTED), Complete, Stopped::Failed, (Outcome::Complete, 100, 20, false)),
        ] {
            let mut account = sent();
            account.hear(&answer(words, usage, ending));
            let row = account.ended(200, stopped, 1_250, &Prices::default());
            let (outcome, _, input, output, estimated, _) = used(&row);
            assert_eq!((outcome, input, output, estimated), expected, "{usage:?} {ending:?} {stopped:?}");
            assert_eq!((row.status, row.latency_ms), (Some(200), Some(250)));
            assert_eq!(row.error.is_some(), outcome != Outcome::Complete);
        }
    }

    #[test]
    fn an_answer_of_which_nothing_was_heard_costs_what_was_asked() {
        let row = sent().ended(200, Stopped::ClientGone, 1_001, &Prices::default());
        assert_eq!(used(&row), (Outcome::Aborted, 200, PROMPT, 0, true, cost(PROMPT, 0)));
    }

    #[test]
    fn a_request_without_an_answer_costs_only_where_the_provider_was_at_work() {
        let gone = Error::new(Kind::ClientGone, "The client left.");
        for (error, expected) in [
            (gone, (Outcome::Aborted, 499, PROMPT, true)),
            (too_slow("openai", 5), (Outcome::TimedOut, 504, PROMPT, true)),
            (cut_short("openai"), (Outcome::Truncated, 502, PROMPT, true)),
            (unreachable("openai"), (Outcome::Failed, 502, 0, false)),
            (translated("openai", 429, b"{}"), (Outcome::Failed, 429, 0, false)),
            (Error::internal(), (Outcome::Failed, 500, 0, false)),
        ] {
            let row = sent().refused(&error, 1_001, &Prices::default());
            let (outcome, status, input, output, estimated, _) = used(&row);
            assert_eq!((outcome, status, input, estimated), expected, "{error}");
            assert_eq!((output, row.cost), (0, cost(input, 0)));
        }
        for error in
            [Error::bad_request("No."), Error::new(Kind::Overloaded, "No."), Error::thread_not_found()]
        {
            let unsent = account(Operation::Answer(Dialect::Chat));
            let row = unsent.refused(&error, 1_001, &Prices::default());
            assert_eq!(used(&row), (Outcome::Refused, error.status(), 0, 0, false, Some(0)));
            assert_eq!((row.error.as_deref(), row.attempts), (Some(error.message()), 0));
        }
    }

    #[test]
    fn an_attempt_that_failed_is_listed_and_paid_for() {
        let (provider, model) = ("openai".to_owned(), "gpt-5.4-mini".to_owned());
        let failed = FailedAttempt {
            provider: provider.clone(),
            model: model.clone(),
            failure: "reported",
            status: Some(529),
            ms: 12,
            usage: Some(Usage { input: 7, output: 1, ..Usage::default() }),
        };
        let mut account = sent();
        account.attempt_failed(failed.clone());
        let unreached = FailedAttempt { failure: "unreachable", status: None, usage: None, ..failed.clone() };
        account.attempt_failed(unreached);
        account.hear(&answer("Yes.", Some(Usage { cached: 0, ..COUNTED }), Ending::Complete));
        let row = account.clone().ended(200, Stopped::Ended, 1_250, &Prices::default());
        assert_eq!((row.usage.input, row.usage.output, row.failed_tokens), (100, 20, 8));
        assert_eq!(row.cost, cost(107, 21));
        let shown = |failure, status: Option<u16>, input, output, cost| {
            serde_json::json!({
                "provider": provider, "model": model, "failure": failure, "upstream_status": status,
                "latency_ms": 12, "prompt_tokens": input, "completion_tokens": output,
                "cost_usd": super::super::prices::dollars(cost),
            })
        };
        let expected = [shown("reported", Some(529), 7, 1, 9_750), shown("unreachable", None, 0, 0, 0)];
        assert_eq!(row.failed_attempts, expected);
        // What nobody has a price for makes the whole unknown.
        account.attempt_failed(FailedAttempt { model: "of-nobody".to_owned(), ..failed });
        assert_eq!(account.ended(200, Stopped::Ended, 1_250, &Prices::default()).cost, None);
    }

    #[test]
    fn a_providers_refusal_used_nothing_and_its_words_stay_with_it() {
        let row = sent().ended(429, Stopped::Ended, 1_001, &Prices::default());
        assert_eq!(used(&row), (Outcome::Failed, 429, 0, 0, false, Some(0)));
        let words = translated("openai", 400, br#"{"error":{"message":"Bad word: UNSPEAKABLE"}}"#);
        let row = sent().refused(&words, 1_001, &Prices::default());
        assert_eq!(row.error.as_deref(), Some("The provider answered with status 400."));
    }

    #[test]
    fn what_failed_after_it_was_counted_is_charged_as_counted() {
        let mut account = sent();
        account.hear(&answer("", Some(COUNTED), Ending::Failed));
        let row = account.refused(&crate::refusal::failed_inside("openai", "x"), 1_001, &Prices::default());
        assert_eq!((row.outcome, row.usage, row.estimated), (Outcome::Failed, COUNTED, true));
    }

    #[test]
    fn what_tools_cost_comes_on_top_and_makes_the_sum_unknown_where_nobody_knows_it() {
        let row = |costs: &[Option<u64>]| {
            let mut account = sent();
            costs.iter().for_each(|cost| account.spends(*cost));
            account.hear(&answer("", Some(COUNTED), Ending::Complete));
            account.ended(200, Stopped::Ended, 1_001, &Prices::default())
        };
        let alone = row(&[]).cost.unwrap();
        assert_eq!(row(&[Some(8_000_000), Some(5)]).cost, Some(alone + 8_000_005));
        assert_eq!(row(&[None, Some(5)]).cost, None);
    }

    #[test]
    fn vectors_are_counted_and_counting_costs_nothing() {
        let mut vectors = account(Operation::Embeddings);
        vectors.routed("openai", "text-embedding-3-small", CredentialSource::Deployment);
        vectors.send(SENT.to_vec());
        vectors.hear_counts(br#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#);
        let row = vectors.ended(200, Stopped::Ended, 1_001, &Prices::default());
        assert_eq!(used(&row), (Outcome::Complete, 200, 8, 0, false, Some(160)));
        let mut count = account(Operation::CountTokens);
        count.routed("anthropic", "claude-sonnet-4-5", CredentialSource::Deployment);
        count.send(SENT.to_vec());
        assert_eq!(count.draft(&Prices::default()).usage, Usage::default());
        count.hear_counts(br#"{"input_tokens":8}"#);
        let row = count.ended(200, Stopped::Ended, 1_001, &Prices::default());
        assert_eq!(used(&row), (Outcome::Complete, 200, 0, 0, false, Some(0)));
    }

    #[test]
    fn the_first_byte_counts_once_and_only_of_a_stream() {
        let mut account = sent();
        account.first_byte(1_040);
        account.first_byte(1_050);
        let row = account.ended(200, Stopped::Ended, 1_100, &Prices::default());
        assert_eq!(row.ttft_ms, Some(40));
        let mut whole = sent();
        whole.asked_for("m", false);
        whole.first_byte(1_040);
        assert_eq!(whole.ended(200, Stopped::Ended, 1_100, &Prices::default()).ttft_ms, None);
    }

    #[test]
    fn no_credential_gets_into_a_row() {
        let mut account = Account::open(Opening {
            id: "a".into(),
            request_id: "sk-proj-planted1234".into(),
            project: "p".into(),
            key_id: "k".into(),
            started_at: 0,
            operation: Operation::Embeddings,
            trace_id: None,
        });
        account.asked_for("openai/sk-proj-planted1234", false);
        assert_eq!(account.row.model, "openai/sk-***");
        account.routed("openai", "sk-proj-planted1234", CredentialSource::None);
        let error = Error::bad_request("No such thing: msk_planted1234.");
        let row = account.refused(&error, 1, &Prices::default());
        assert!(!format!("{row:?}").contains("planted"), "{row:?}");
    }
}
