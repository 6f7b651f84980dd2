//! What a key or a project may spend: a sum of money, of tokens or of both, a day or a month.
//!
//! Invariant: money is whole nano-dollars; a sum that they cannot hold exactly is refused, not rounded.

use serde_json::{Map, Value as Json};

use crate::ledger::prices::{decimal, dollars};

/// Nano-dollars in a dollar.
const NANO: u128 = 1_000_000_000;

/// The most dollars: what they make in nano-dollars is exact in a double, as everything stored must be.
const MOST_NANO: u128 = 9_000_000 * NANO;

/// The most tokens, for the same reason.
const MOST_TOKENS: u64 = 9_000_000_000_000_000;

/// How often an allowance begins anew, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// At midnight.
    Day,
    /// On the first.
    Month,
}

/// What may be spent in a period. At least one of the two sums is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How often it begins anew.
    pub period: Period,
    /// Money, in nano-dollars.
    pub nano_usd: Option<u64>,
    /// Tokens, of prompts and answers together.
    pub tokens: Option<u64>,
}

impl Allowance {
    /// Reads `{period: "day"|"month", usd?, tokens?}`. Errors: what is wrong with it, to follow the field's name.
    pub fn read(document: &Json) -> Result<Self, String> {
        let fields = document.as_object().ok_or("must be an object, or null for none")?;
        if let Some(name) = fields.keys().find(|name| !matches!(name.as_str(), "period" | "usd" | "tokens")) {
            let name: String = name.chars().take(100).collect();
            return Err(format!("has no field `{name}`; it has period, usd and tokens"));
        }
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let period = match given("period").and_then(Json::as_str) {
            Some("day") => Period::Day,
            Some("month") => Period::Month,
            _ => return Err("must have a `period`: day or month".to_owned()),
        };
        let usd = given("usd").map(|usd| {
            let text = usd.as_number().map(ToString::to_string);
            let nano =
                text.and_then(|text| decimal(&text, NANO)).filter(|nano| (1..=MOST_NANO).contains(nano));
            nano.and_then(|nano| u64::try_from(nano).ok())
                .ok_or("must have `usd` as a number of dollars above 0 with at most nine decimals")
        });
        let tokens = given("tokens").map(|tokens| {
            let whole = tokens.as_u64().filter(|tokens| (1..=MOST_TOKENS).contains(tokens));
            whole.ok_or("must have `tokens` as a whole number of at least 1")
        });
        match (usd.transpose()?, tokens.transpose()?) {
            (None, None) => Err("must have `usd`, `tokens` or both".to_owned()),
            (nano_usd, tokens) => Ok(Allowance { period, nano_usd, tokens }),
        }
    }

    /// The document.
    pub fn document(&self) -> Json {
        let mut fields = Map::new();
        let period = match self.period {
            Period::Day => "day",
            Period::Month => "month",
        };
        fields.insert("period".to_owned(), period.into());
        if let Some(nano) = self.nano_usd {
            fields.insert("usd".to_owned(), dollars(nano).into());
        }
        if let Some(tokens) = self.tokens {
            fields.insert("tokens".to_owned(), tokens.into());
        }
        Json::Object(fields)
    }

    /// What is stored; `None` for no allowance. Errors: a document that cannot be read, which is not to be taken for none.
    pub fn stored(text: Option<&str>) -> Result<Option<Self>, String> {
        let Some(text) = text else { return Ok(None) };
        let document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Allowance::read(&document).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_comes_back_as_it_was_set() {
        for text in [
            r#"{"period":"day","usd":12.5}"#,
            r#"{"period":"month","tokens":1000000}"#,
            r#"{"period":"month","usd":0.000000001,"tokens":1}"#,
        ] {
            let allowance = Allowance::stored(Some(text)).unwrap().unwrap();
            assert_eq!(allowance.document().to_string(), text);
        }
        assert_eq!(Allowance::stored(None), Ok(None));
        assert!(Allowance::stored(Some("{}")).is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (document, says) in [
            (json!(5), "must be an object"),
            (json!({"usd": 5}), "period"),
            (json!({"period": "week", "usd": 5}), "day or month"),
            (json!({"period": "day"}), "`usd`, `tokens` or both"),
            (json!({"period": "day", "usd": 0}), "above 0"),
            (json!({"period": "day", "usd": -1}), "above 0"),
            (json!({"period": "day", "usd": "5"}), "number of dollars"),
            (json!({"period": "day", "usd": 0.0000000001}), "nine decimals"),
            (json!({"period": "day", "tokens": 1.5}), "whole number"),
            (json!({"period": "day", "eur": 5}), "no field `eur`"),
        ] {
            let what = Allowance::read(&document).unwrap_err();
            assert!(what.contains(says), "{document}: {what}");
        }
    }
}
