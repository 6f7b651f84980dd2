//! Times on the wire.
//!
//! Invariant: inside, a time is Unix milliseconds; only here does it become text or a place on somebody's calendar, or come
//! from there.

use chrono::{DateTime, Duration, NaiveDateTime, SecondsFormat};

/// Minutes east of UTC at an instant (Unix milliseconds) in some time zone: what the platform's calendar knows.
pub type Zone<'a> = &'a dyn Fn(u64) -> i32;

/// The same for a time zone by its IANA name.
pub type Zones<'a> = &'a dyn Fn(&str, u64) -> i32;

/// UTC, whatever the instant.
pub fn utc(_at: u64) -> i32 {
    0
}

/// What the clock on the wall shows at an instant.
pub fn local(ms: u64, zone: Zone<'_>) -> NaiveDateTime {
    let ms_signed = i64::try_from(ms).unwrap_or(i64::MAX);
    let utc = DateTime::from_timestamp_millis(ms_signed).unwrap_or_default().naive_utc();
    utc.checked_add_signed(Duration::minutes(i64::from(zone(ms)))).unwrap_or(utc)
}

/// ISO 8601 in UTC with milliseconds, from Unix milliseconds.
pub fn iso(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Unix milliseconds, from RFC 3339; `None` for anything else, and before 1970.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    u64::try_from(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_follows_the_zone_of_the_instant() {
        // Berlin leaves summer time on 25 October 2026 at 01:00 UTC.
        let berlin = |at: u64| if at < 1_792_890_000_000 { 120 } else { 60 };
        let shown = |ms| local(ms, &berlin).format("%a %Y-%m-%d %H:%M").to_string();
        assert_eq!(shown(1_792_889_940_000), "Sun 2026-10-25 02:59");
        assert_eq!(shown(1_792_890_000_000), "Sun 2026-10-25 02:00");
        assert_eq!(local(u64::MAX, &utc).to_string(), "1970-01-01 00:00:00");
    }

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
