// Owns: the calendar days that a text speaks of; relative ones are worked out from the day it was said on.
// Invariant: pure; a day is given only where the words alone fix it: "on Monday" may be the last or the next one.

const DAY_MS = 86_400_000;
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const COUNTS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

// Days are counted from 1970-01-01, in no time zone.
const number = (day) => Date.parse(`${day}T00:00:00Z`) / DAY_MS;
const written = (number) => new Date(number * DAY_MS).toISOString().slice(0, 10);
const weekday = (number) => new Date(number * DAY_MS).getUTCDay();

/** "Tuesday" for "2026-11-24"; undefined for what is no day. */
export const weekdayOf = (day) => WEEKDAYS[new Date(`${day}T00:00:00Z`).getUTCDay()];

const NEAR = {
  "day before yesterday": -2,
  yesterday: -1,
  today: 0,
  tonight: 0,
  tomorrow: 1,
  "day after tomorrow": 2,
};
const COUNT = String.raw`(an?|${COUNTS.join("|")}|\d{1,3}) (day|week)s?`;
const pattern = (source) => new RegExp(String.raw`\b(?:${source})\b`, "gi");

// Each gives the first and the last day, in numbers; null where the words are no day after all.
const WORDS = [
  [pattern(Object.keys(NEAR).join("|")), (said, [words]) => one(said + NEAR[words.toLowerCase()])],
  [pattern(`in ${COUNT}`), (said, [, count, unit]) => one(said + spanned(count, unit))],
  [pattern(`${COUNT} ago`), (said, [, count, unit]) => one(said - spanned(count, unit))],
  [pattern(`next (${WEEKDAYS.join("|")})`), (said, [, name]) => one(said + ahead(said, name))],
  [pattern(`last (${WEEKDAYS.join("|")})`), (said, [, name]) => one(said + ahead(said - 1, name) - 8)],
  [
    pattern("next week"),
    (said) => {
      const monday = said + ahead(said, "Monday");
      return [monday, monday + 6];
    },
  ],
  [pattern(String.raw`(\d{4})-(\d{2})-(\d{2})`), (_, [, year, month, day]) => dated(year, month, day)],
  [
    pattern(String.raw`(\d{1,2})(?:st|nd|rd|th)?(?: of)? (${MONTHS.join("|")}),? (\d{4})`),
    (_, [, day, month, year]) => dated(year, monthNumber(month), day),
  ],
  [
    pattern(String.raw`(${MONTHS.join("|")}) (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})`),
    (_, [, month, day, year]) => dated(year, monthNumber(month), day),
  ],
];

const one = (day) => [day, day];

const named = (names, name) => names.findIndex((each) => each.toLowerCase() === name.toLowerCase());
const monthNumber = (name) => named(MONTHS, name) + 1;

function spanned(count, unit) {
  const spelt = named(COUNTS, count) + 1;
  const many = spelt || (/^an?$/i.test(count) ? 1 : Number(count));
  return many * (unit.toLowerCase() === "week" ? 7 : 1);
}

/** From a day to the next one of this name behind it, 1 to 7 days. */
const ahead = (day, name) => (named(WEEKDAYS, name) - weekday(day) + 7) % 7 || 7;

function dated(year, month, day) {
  const text = `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
  const count = number(text);
  // 31 June would be read as 1 July.
  return Number.isNaN(count) || written(count) !== text ? null : one(count);
}

/** The first day or span of days in `text`, `{ from, to }` as "2026-12-03", said on the day `said`; null for none. */
export function daysIn(text, said) {
  const found = WORDS.flatMap(([find, days]) =>
    [...text.matchAll(find)].map((match) => ({
      at: match.index,
      end: match.index + match[0].length,
      days: days(number(said), match),
    })),
  )
    .filter(({ days }) => days !== null)
    .sort((a, b) => a.at - b.at);
  if (found.length === 0) return null;
  const [first] = found;
  const second = found.find(({ at }) => at >= first.end);
  const isSpan = second && /^ ?(?:to|until|till|through|-|–) ?$/i.test(text.slice(first.end, second.at));
  const [from, to] = isSpan ? [first.days[0], second.days[1]] : first.days;
  return to < from ? null : { from: written(from), to: written(to) };
}
