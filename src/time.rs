//! Times on the wire.
//!
//! Invariant: inside, a time is Unix milliseconds; only here does it become text, or come from it.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta};

/// ISO 8601 in UTC with milliseconds, from Unix milliseconds.
pub fn iso(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Unix milliseconds, from RFC 3339; `None` for anything else, and before 1970.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    u64::try_from(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()).ok()
}

/// Date and time on the clocks of a place, from Unix milliseconds. `zone` gives the place's minutes east of UTC at such an
/// instant.
pub fn local(ms: u64, zone: &dyn Fn(u64) -> i32) -> NaiveDateTime {
    let utc = DateTime::from_timestamp_millis(i64::try_from(ms).unwrap_or(i64::MAX)).unwrap_or_default();
    let utc = utc.naive_utc();
    utc.checked_add_signed(TimeDelta::minutes(zone(ms).into())).unwrap_or(utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601_with_milliseconds() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_798_761_600_123, "2027-01-01T00:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!((iso(ms).as_str(), from_rfc3339(text)), (text, Some(ms)));
        }
        assert_eq!(from_rfc3339("2027-01-01T01:00:00.123+01:00"), Some(1_798_761_600_123));
        assert_eq!(from_rfc3339("yesterday"), None);
    }
}
