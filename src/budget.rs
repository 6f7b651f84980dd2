//! Budgets: how much a key, a project or a project's memory may use in a day or a month, in money or in tokens.
//!
//! Invariant: what is admitted is never more than the budget, by the estimates that requests are admitted with; an answer
//! that turns out dearer than its estimate is charged in full, and the next request sees it.
//!
//! A request is admitted before anything is done for it, and again when its prompt is written, memory included: it goes to
//! the provider only when the budget holds that. So a budget is overspent by no more than the errors in the estimates of
//! those requests that were under way when it ran out: one request's, where they come one after the other. What an answer
//! may have is known where the request says it (`max_tokens`).
//!
//! The truth of a budget is in one object ([`books`]). An isolate draws a small part of it ahead and admits requests
//! from that ([`purse`]), so the usual request asks nobody. What is drawn and not used goes back when the isolate says so,
//! or when it has been silent for [`books::LEASE_MS`]. Where the object does not answer, requests are admitted and what
//! they used is told later: the ledger has them, too, and an outage of the counter must not stop every user.

pub mod books;
pub mod purse;

use chrono::{DateTime, Datelike, Months, NaiveTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Kind};
use crate::keys::digest;
use crate::ledger::prices::{NANO, decimal, dollars};
use crate::turn::hex;

/// In what a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nano-dollars.
    Money,
    /// Tokens, of prompts and of answers.
    Tokens,
}

/// How long a budget lasts. Both begin at midnight, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A day.
    Day,
    /// A calendar month.
    Month,
}

impl Period {
    /// When the period that `at` lies in began and when it ends, in Unix milliseconds.
    pub fn around(self, at: u64) -> (u64, u64) {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let day = at - at % DAY_MS;
        match self {
            Period::Day => (day, day + DAY_MS),
            Period::Month => month_around(at).unwrap_or((day, day + DAY_MS)),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
        }
    }
}

fn month_around(at: u64) -> Option<(u64, u64)> {
    let date = DateTime::from_timestamp_millis(i64::try_from(at).ok()?)?.date_naive();
    let first = date.with_day(1)?;
    let next = first.checked_add_months(Months::new(1))?;
    let ms = |date: chrono::NaiveDate| {
        u64::try_from(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis()).ok()
    };
    Some((ms(first)?, ms(next)?))
}

/// A budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// How much, in the unit.
    pub amount: u64,
    /// The unit.
    pub unit: Unit,
    /// How long it lasts.
    pub period: Period,
}

impl Budget {
    /// Reads a budget: `{"usd": 12.5, "period": "month"}` or `{"tokens": 1000000, "period": "day"}`. Errors: what is wrong
    /// with it.
    pub fn read(document: &Value) -> Result<Self, String> {
        const FORM: &str =
            r#"must be like {"usd": 12.5, "period": "month"} or {"tokens": 1000000, "period": "day"}"#;
        /// Sums stay far below 2^53, which is all that the platform's border lets through.
        const MOST: u64 = 1_000_000_000_000_000;
        let fields = document.as_object().ok_or(FORM)?;
        if let Some(odd) = fields.keys().find(|name| !["usd", "tokens", "period"].contains(&name.as_str())) {
            return Err(format!("has the unknown field `{odd}`; it {FORM}"));
        }
        let period = match fields.get("period").and_then(Value::as_str) {
            Some("day") => Period::Day,
            Some("month") => Period::Month,
            _ => return Err(format!("{FORM}; `period` is day or month")),
        };
        let (amount, unit) = match (fields.get("usd"), fields.get("tokens")) {
            (Some(Value::Number(usd)), None) => (
                decimal(&usd.to_string(), u128::from(NANO)).and_then(|nano| u64::try_from(nano).ok()),
                Unit::Money,
            ),
            (None, Some(Value::Number(tokens))) => (tokens.as_u64(), Unit::Tokens),
            _ => return Err(FORM.to_owned()),
        };
        let amount = amount.filter(|amount| *amount <= MOST).ok_or_else(|| {
            format!("{FORM}; amounts are decimal, not negative, and at most a million dollars")
        })?;
        Ok(Budget { amount, unit, period })
    }

    /// The document that [`read`](Self::read) makes this of.
    pub fn document(&self) -> Value {
        let mut fields = serde_json::Map::new();
        match self.unit {
            Unit::Money => fields.insert("usd".to_owned(), dollars(self.amount).into()),
            Unit::Tokens => fields.insert("tokens".to_owned(), self.amount.into()),
        };
        fields.insert("period".to_owned(), self.period.word().into());
        fields.into()
    }

    /// How much of the budget so many tokens at such a cost are. Errors: 402 for a cost that nobody knows.
    pub fn share(&self, owner: Owner<'_>, use_of: Use<'_>) -> Result<u64, Error> {
        match self.unit {
            Unit::Tokens => Ok(use_of.tokens),
            Unit::Money => use_of.cost.ok_or_else(|| {
                Error::new(
                    Kind::BudgetExceeded,
                    format!(
                        "{} has a budget in money, and the gateway knows no price for `{}`, so the model cannot be used \
                         under it. Use a model with a price, or ask the gateway's operator to set one in PRICES.",
                        owner.title(),
                        use_of.model.chars().take(100).collect::<String>()
                    ),
                )
                .with_code("model_without_price")
            }),
        }
    }

    /// 402: the budget is spent. `left` is what is still there, `now` the time in Unix milliseconds.
    pub fn exceeded(&self, owner: Owner<'_>, left: u64, now: u64) -> Error {
        let shown = |amount: u64| match self.unit {
            Unit::Money => format!("{} US dollars", dollars(amount)),
            Unit::Tokens => format!("{amount} tokens"),
        };
        let (_, ends) = self.period.around(now);
        Error::new(
            Kind::BudgetExceeded,
            format!(
                "{} may use {} a {}, and what is left ({}) is less than this request may need. Ask for a shorter answer \
                 (`max_tokens`), wait until {}, or ask the gateway's operator for a larger budget.",
                owner.title(),
                shown(self.amount),
                self.period.word(),
                shown(left),
                crate::time::iso(ends)
            ),
        )
        .with_code("budget_exceeded")
        .with("resets_at", ends / 1000)
    }
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A key, by its public id.
    Key(&'a str),
    /// A project, by its id.
    Project(&'a str),
    /// What a project's memory spends on its own calls of models.
    Memory(&'a str),
}

impl Owner<'_> {
    /// The name of the object that keeps the books.
    pub fn object_name(self) -> String {
        let (kind, id) = match self {
            Owner::Key(id) => ("key", id),
            Owner::Project(id) => ("project", id),
            Owner::Memory(id) => ("memory", id),
        };
        format!("budget:v1:{}", hex(&digest(&[kind, id])))
    }

    fn title(self) -> &'static str {
        match self {
            Owner::Key(_) => "This gateway key",
            Owner::Project(_) => "This project",
            Owner::Memory(_) => "This project's memory",
        }
    }
}

/// What a request uses, or may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use<'a> {
    /// The model, for messages.
    pub model: &'a str,
    /// Tokens of prompt and answer.
    pub tokens: u64,
    /// The cost in nano-dollars; `None` where the price is unknown.
    pub cost: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_is_read_exactly_and_what_is_none_says_why() {
        for (document, amount, unit, period) in [
            (json!({"usd": 12.5, "period": "month"}), 12_500_000_000, Unit::Money, Period::Month),
            (json!({"usd": 0, "period": "day"}), 0, Unit::Money, Period::Day),
            (json!({"tokens": 1_000_000, "period": "day"}), 1_000_000, Unit::Tokens, Period::Day),
        ] {
            let budget = Budget::read(&document).unwrap();
            assert_eq!(budget, Budget { amount, unit, period });
            assert_eq!(Budget::read(&budget.document()), Ok(budget));
        }
        for bad in [
            json!(5),
            json!({"usd": 5}),
            json!({"usd": 5, "period": "week"}),
            json!({"usd": -5, "period": "day"}),
            json!({"usd": "5", "period": "day"}),
            json!({"usd": 5, "tokens": 5, "period": "day"}),
            json!({"usd": 1_000_001, "period": "day"}),
            json!({"tokens": 1.5, "period": "day"}),
            json!({"usd": 5, "period": "day", "limit": 1}),
        ] {
            assert!(Budget::read(&bad).unwrap_err().contains("must be like"), "{bad}");
        }
    }

    #[test]
    fn periods_are_days_and_calendar_months_in_utc() {
        let at = |text| crate::time::from_rfc3339(text).unwrap();
        let bounds = |period: Period, text| {
            let (from, to) = period.around(at(text));
            let day = |ms| crate::time::iso(ms).split('T').next().unwrap_or_default().to_owned();
            (day(from), day(to))
        };
        let days = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(bounds(Period::Day, "2028-02-29T23:59:59.999Z"), days("2028-02-29", "2028-03-01"));
        assert_eq!(bounds(Period::Month, "2028-02-29T23:59:59.999Z"), days("2028-02-01", "2028-03-01"));
        assert_eq!(bounds(Period::Month, "2026-12-01T00:00:00Z"), days("2026-12-01", "2027-01-01"));
    }

    #[test]
    fn a_spent_budget_says_whose_it_is_how_much_is_left_and_until_when() {
        let budget = Budget { amount: 2_000_000_000, unit: Unit::Money, period: Period::Day };
        let error = budget.exceeded(Owner::Key("k"), 1_500, 1_795_564_800_000);
        assert_eq!(
            (error.status(), error.type_name(), error.code()),
            (402, "budget_exceeded", Some("budget_exceeded"))
        );
        assert_eq!(
            error.message(),
            "This gateway key may use 2 US dollars a day, and what is left (0.0000015 US dollars) is less than this request \
             may need. Ask for a shorter answer (`max_tokens`), wait until 2026-11-26T00:00:00.000Z, or ask the gateway's \
             operator for a larger budget."
        );
        assert_eq!(error.body()["error"]["resets_at"], 1_795_651_200);
    }

    #[test]
    fn a_budget_in_money_does_not_let_a_model_without_a_price_through() {
        let used = Use { model: "mine/m", tokens: 7, cost: None };
        let budget = |unit| Budget { amount: 1, unit, period: Period::Day };
        assert_eq!(budget(Unit::Tokens).share(Owner::Project("p"), used), Ok(7));
        let error = budget(Unit::Money).share(Owner::Project("p"), used).unwrap_err();
        assert_eq!((error.status(), error.code()), (402, Some("model_without_price")));
        assert!(error.message().contains("mine/m"));
    }
}
