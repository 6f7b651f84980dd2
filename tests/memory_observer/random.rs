//! Any bytes as an answer, and any text as a message.

use memory_gateway::memory::note::Draft;
use memory_gateway::memory::observer::{self, Observed};
use memory_gateway::memory::{degenerate, transcript};
use memory_gateway::turn::Stop;

use crate::{assistant, call, read, user, written_with};

/// Draws numbers below a bound, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// The lines of notes, as an observer would write them.
fn rendered(drafts: &[Draft]) -> Vec<String> {
    let numbers = |sources: &[usize]| sources.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let mut out = Vec::new();
    for draft in drafts {
        let mut line = format!("{} #{}", draft.priority.letter(), numbers(&draft.sources));
        line.extend(draft.refers.map(|days| format!(" @{days}")));
        line.extend(draft.key.as_ref().map(|key| format!(" ={key}")));
        out.push(format!("{line} | {}", draft.text));
        out.extend(
            draft.children.iter().map(|child| format!("- #{} | {}", numbers(&child.sources), child.text)),
        );
    }
    out
}

#[test]
fn any_bytes_are_read_without_a_panic_and_what_is_taken_is_written_as_it_was() {
    let pieces = [
        "H",
        "M",
        "L",
        "- ",
        " ",
        " ",
        " #1",
        " #2-3",
        " #1,4",
        " #",
        " @2026-12-03",
        " @2026-12-01..2026-12-05",
        " @",
        " =user.name",
        " =x",
        " | ",
        " | ",
        "|",
        "text",
        "ünï 今日は",
        "items[0]",
        "\t",
        "\n",
        "\n",
        "\nEND",
        "END",
        "\r\n",
        "NOTHING TO NOTE",
        "```",
        "\u{2028}",
        "DONE: ",
        "\u{0}",
    ];
    let lines = [
        "H #1 | a",
        "M #2,3 @2026-12-03 | b | c",
        "L #4 =user.name | \té ",
        "- #1,2 | d",
        "x",
        "H #9 | out of range",
        "H #1 @2026-12-01..2026-12-05 =user.x | `items[0]`",
        "NOTHING TO NOTE",
        "",
        "```",
    ];
    let mut taken = 0;
    for seed in 0..1_500 {
        let mut random = Random(seed);
        let text = match seed % 3 {
            0 => {
                let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            1 => (0..random.below(40)).map(|_| random.pick(&pieces)).collect(),
            _ => {
                let written: Vec<&str> = (0..random.below(8)).map(|_| random.pick(&lines)).collect();
                written.join("\n")
            }
        };
        let stop = [Some(Stop::End), Some(Stop::Length), None, Some(Stop::ContentFilter)];
        let stop = if seed % 4 == 3 { &stop[random.below(4)] } else { &stop[0] };
        let answer = format!("{text}\nEND");
        for (answer, lenient) in [(&text, false), (&text, true), (&answer, false), (&answer, true)] {
            let Ok((observed, left_out)) = observer::read(Some(answer), stop.as_ref(), 4, lenient) else {
                continue;
            };
            assert!(lenient || left_out == 0, "seed {seed}");
            let Observed::Notes(drafts) = observed else { continue };
            assert!(!drafts.is_empty(), "seed {seed}");
            taken += 1;
            let lines = rendered(&drafts);
            let again = format!("{}\nEND", lines.join("\n"));
            assert_eq!(read(&again, 4), Ok(Observed::Notes(drafts)), "seed {seed}");
            // Each line is there as it was, but for the order of its head and white space before it.
            let mut written =
                answer.lines().map(|line| line.trim_start().split_once(" | ").map(|(_, text)| text));
            for line in lines {
                let (_, text) = line.split_once(" | ").unwrap();
                assert!(written.any(|original| original == Some(text)), "seed {seed}: {line}");
            }
        }
        let message = user(&text);
        let shown = written_with(&[message.clone(), assistant(vec![call("c", &text, &text)])], &text);
        assert!(
            transcript::lines(&shown).all(|line| line.starts_with("| ") || line.starts_with('#')),
            "seed {seed}"
        );
        degenerate::check(&text);
    }
    assert!(taken > 200, "only {taken} answers were taken");
}
