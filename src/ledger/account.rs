//! The account of one request while it is served: what it asks, what it got, and the row that this makes.
//!
//! Invariant: whatever the end, the account makes one settled row. What the provider counted is taken as it is, zeros too;
//! what it did not count is estimated from what was sent and what came, and the row says so. What never reached a provider,
//! or was refused there, used nothing.

use super::estimate;
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
    /// The prompt's tokens as estimated; `None` while nothing was sent.
    sent: Option<u64>,
    heard: Option<Heard>,
}

/// What was heard of an answer.
#[derive(Clone, Copy, Debug)]
struct Heard {
    usage: Option<Usage>,
    /// Tokens of what was said, estimated.
    said: u64,
    ending: Ending,
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
            error: None,
            thread: None,
            resource: None,
            message_ids: Vec::new(),
            memory_tokens: 0,
            trace_id: opening.trace_id,
        };
        Account { row, sent: None, heard: None }
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
        self.row.source = match source {
            CredentialSource::Caller => "caller",
            CredentialSource::Deployment => "deployment",
            CredentialSource::None => "none",
        };
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

    /// The request goes to the provider now, with this body. Gives the open row, which stands for the request should
    /// nobody live to settle it.
    pub fn send(&mut self, body: &[u8], prices: &Prices) -> Row {
        let input =
            if self.row.endpoint == Operation::CountTokens.path() { 0 } else { estimate::input_of(body) };
        self.sent = Some(input);
        self.row.attempts += 1;
        let mut row = self.row.clone();
        row.usage.input = input;
        row.estimated = true;
        row.cost = prices.cost(&row.provider, &row.model, &row.usage);
        row
    }

    /// The first byte of a streamed answer is there.
    pub fn first_byte(&mut self, now: u64) {
        if self.row.streams && self.row.ttft_ms.is_none() {
            self.row.ttft_ms = Some(now.saturating_sub(self.row.started_at));
        }
    }

    /// What was said, as far as it was heard.
    pub fn hear(&mut self, answer: &Answer) {
        let said = answer.message.as_ref().map_or(0, tokens::of_message);
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
        let was_sent = self.sent.is_some();
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
        let input = self.sent.unwrap_or(0);
        let Heard { usage, said, ending } =
            self.heard.unwrap_or(Heard { usage: None, said: 0, ending: Ending::Truncated });
        match usage {
            Some(usage) if matches!(ending, Ending::Complete | Ending::Unread) => self.row.usage = usage,
            // What was counted before the end, as Messages does, leaves out what came after.
            Some(usage) => {
                self.row.usage = Usage { output: usage.output.max(said), ..usage };
                self.row.estimated = true;
            }
            None if self.row.endpoint == Operation::CountTokens.path() => {}
            None => {
                self.row.usage = Usage { input, output: said, ..Usage::default() };
                self.row.estimated = true;
            }
        }
    }

    /// The row of a request whose answer went to the client unseen; it counts nothing.
    pub fn passed(mut self, status: u16, now: u64) -> Row {
        self.row.outcome = if (200..300).contains(&status) { Outcome::Complete } else { Outcome::Failed };
        self.row.status = Some(status);
        self.row.latency_ms = Some(now.saturating_sub(self.row.started_at));
        self.row.cost = None;
        self.row
    }

    fn settle(mut self, status: u16, now: u64, prices: &Prices) -> Row {
        self.row.status = Some(status);
        self.row.latency_ms = Some(now.saturating_sub(self.row.started_at));
        self.row.cost = prices.cost(&self.row.provider, &self.row.model, &self.row.usage);
        self.row
    }
}

fn provider_refused(status: u16) -> String {
    format!("The provider answered with status {status}.")
}
