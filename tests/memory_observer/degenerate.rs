//! Answers that run in circles, and sound ones that look a little like it.

use memory_gateway::memory::degenerate;
use memory_gateway::memory::fault::Fault;
use memory_gateway::memory::observer;
use memory_gateway::turn::Stop;
use serde_json::{Value, json};

use crate::drafts;

#[test]
fn an_answer_that_runs_in_circles_is_found() {
    let notes: String = (1..=30).map(|at| format!("M #{at} | Item {at} costs {} euros.\n", at * 7)).collect();
    let passage = "a passage is repeated over and over";
    let repeated = "notes are repeated over and over";
    let sentence = "The user said that the parcel had not come yet and that they would call again. ";
    let page: String = (1..=20).map(|at| format!("M #{at} | Point {at}: {}\n", sentence)).collect();
    for (text, how) in [
        ("x".repeat(9_000), "a line goes on without end"),
        (format!("{notes}H #1 | {}", "word ".repeat(2_000)), "a line goes on without end"),
        (format!("{notes}H #1 | {}", "and so on ".repeat(60)), passage),
        (format!("{notes}{}", "M #31 | The user waits.\n".repeat(30)), passage),
        (format!("{}{notes}END\n", "M #31 | The user waits.\n".repeat(30)), passage),
        (format!("M #1 | {}", sentence.repeat(9)), passage),
        (format!("M #1 | {}", "今日は".repeat(80)), passage),
        (format!("M #1 | {}", "-".repeat(3_000)), passage),
        // The same note for one message after the other.
        (
            (1..=12)
                .map(|at| format!("M #{at} | The user greets the assistant.\n{}", note_apart(at)))
                .collect(),
            repeated,
        ),
        // A long passage all over again.
        (format!("{page}{page}"), repeated),
        ((1..=150_000).map(|at| format!("{at}\n")).collect(), "it goes on without end"),
    ] {
        assert_eq!(degenerate::check(&text), Some(how), "{}", &text[..text.len().min(300)]);
        let answer = format!("{text}\nEND");
        let read = observer::read(Some(&answer), Some(&Stop::End), 1_000, true);
        assert_eq!(read, Err(Fault::Degenerate(how)));
    }
}

fn note_apart(at: usize) -> String {
    format!("M #{at} | Number {at} was drawn, which is {} squared.\n", at * at)
}

#[test]
fn lists_code_and_tables_are_not_degenerate() {
    let list: String = (1..=100)
        .map(|at| {
            format!("M #{at} | The assistant recommended hotel number {at} in Paris for 100 euros a night.\n")
        })
        .collect();
    let objects: Vec<Value> = (0..200)
        .map(|id| json!({"type": "object", "additionalProperties": false, "id": id, "tags": []}))
        .collect();
    let json = serde_json::to_string_pretty(&objects).unwrap();
    let code: String = (0..150)
        .map(|at| format!("    if (a[{at}] == null) {{\n        return null;\n    }}\n    }}\n"))
        .collect();
    let rule = "|------------------------------|".repeat(10);
    let table: String = (0..100).map(|at| format!("| {at} | 0 | 0 | 0 | 0 | ok |\n")).collect();
    let details: String = (1..=60).map(|at| format!("- #{at} | step {at}: exit code 0\n")).collect();
    for text in [
        list.clone(),
        json,
        code,
        format!("{rule}\n{table}"),
        format!("M #1 | Steps:\n{details}"),
        format!("M #1 | `{}`", "0, ".repeat(300)),
        format!("M #1 | all {}", "-".repeat(600)),
        format!("M #1 | she laughed: {}", "haha".repeat(40)),
        format!("M #1 | {}", "A".repeat(400)),
        "M #1 | ok\n".repeat(9),
        String::new(),
    ] {
        assert_eq!(degenerate::check(&text), None, "{}", &text[..text.len().min(300)]);
    }
    assert_eq!(drafts(&format!("{list}END"), 100).len(), 100);
}
