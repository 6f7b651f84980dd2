//! Learns from what providers report how far the estimates are off, model by model.
//!
//! Invariant: a correction is a factor between a third and three; no single report moves it by more than its weight
//! allows, and a model that nothing is known of is not corrected.

use serde::{Deserialize, Serialize};

/// Prompts below this many estimated tokens teach nothing: what the provider adds outweighs the text.
pub const FEWEST_TOKENS: u64 = 200;
/// The models remembered; the one that was used longest ago makes room.
pub const MOST_MODELS: usize = 8;
/// The largest correction, as the logarithm of its factor: ln 3.
const LARGEST: f64 = 1.0986;
/// How far a report may be from the factor learned so far, as a logarithm, before it is cut to this: one that says twice
/// as much counted something the estimate did not see.
const FARTHEST: f64 = 0.3;
/// The estimate itself counts as this many reports less one, so that a first report is not taken at its word.
const UNCORRECTED: f64 = 2.0;
/// A new report weighs at least this much, so that a changed tokenizer is learned in some dozen turns.
const LEAST_WEIGHT: f64 = 0.125;

/// The corrections of the models that a conversation has been answered by, the last used last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Calibration {
    models: Vec<Correction>,
}

/// What is known of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Correction {
    model: String,
    /// The natural logarithm of reported by estimated tokens, averaged.
    log_ratio: f64,
    /// How many reports it is made of.
    reports: u64,
}

impl Calibration {
    /// Takes in a report of a model: a prompt's estimated tokens beside those that the provider counted, cached ones
    /// included. A prompt with pictures, sound or files should not be handed in
    /// ([`holds_media`](super::holds_media)), nor one to which the provider itself added anything. Small prompts and
    /// empty reports are passed over.
    pub fn learn(&mut self, model: &str, estimated: u64, reported: u64) {
        if estimated < FEWEST_TOKENS || reported == 0 {
            return;
        }
        let ratio = (reported as f64 / estimated as f64).ln().clamp(-LARGEST, LARGEST);
        let known = self.models.iter().position(|known| known.model == model);
        let mut correction = match known {
            Some(at) => self.models.remove(at),
            None => Correction { model: model.to_owned(), log_ratio: 0.0, reports: 0 },
        };
        let difference = ratio - correction.log_ratio;
        // The first report has nothing to be measured against.
        let difference =
            if correction.reports == 0 { difference } else { difference.clamp(-FARTHEST, FARTHEST) };
        let weight = (1.0 / (correction.reports as f64 + UNCORRECTED)).max(LEAST_WEIGHT);
        correction.log_ratio += difference * weight;
        correction.reports += 1;
        if self.models.len() >= MOST_MODELS {
            self.models.remove(0);
        }
        self.models.push(correction);
    }

    /// An estimate as the model's provider would probably count it, in tokens.
    pub fn corrected(&self, model: &str, estimate: u64) -> u64 {
        let log_ratio =
            self.models.iter().find(|known| known.model == model).map_or(0.0, |known| known.log_ratio);
        // A stored state may hold anything; a factor out of bounds is none of ours.
        (estimate as f64 * log_ratio.clamp(-LARGEST, LARGEST).exp()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(reports: &[(u64, u64)]) -> Calibration {
        let mut calibration = Calibration::default();
        for (estimated, reported) in reports {
            calibration.learn("m", *estimated, *reported);
        }
        calibration
    }

    #[test]
    fn an_unknown_model_is_not_corrected() {
        assert_eq!(Calibration::default().corrected("m", 1234), 1234);
        assert_eq!(learned(&[(1000, 1500)]).corrected("another", 1234), 1234);
    }

    #[test]
    fn a_first_report_corrects_by_half_and_each_model_for_itself() {
        let mut calibration = learned(&[(1000, 1440)]);
        calibration.learn("n", 1000, 810);
        assert_eq!(calibration.corrected("m", 2000), 2400);
        assert_eq!(calibration.corrected("n", 2000), 1800);
    }

    #[test]
    fn some_equal_reports_correct_nearly_all_of_it() {
        assert_eq!(learned(&[(1000, 1300); 3]).corrected("m", 1000), 1217);
        assert_eq!(learned(&[(1000, 1300); 30]).corrected("m", 1000), 1298);
    }

    #[test]
    fn small_prompts_and_empty_reports_teach_nothing() {
        assert_eq!(learned(&[(FEWEST_TOKENS - 1, 700), (1000, 0)]), Calibration::default());
    }

    #[test]
    fn an_outlier_among_steady_reports_moves_little_and_is_forgotten() {
        let steady = [(1000, 1100); 10];
        let mut calibration = learned(&steady);
        calibration.learn("m", 1000, 40_000);
        assert_eq!(calibration.corrected("m", 1000), 1133, "an eighth of the farthest step");
        for (estimated, reported) in steady {
            calibration.learn("m", estimated, reported);
        }
        assert!(calibration.corrected("m", 1000).abs_diff(1100) <= 11);
    }

    #[test]
    fn a_first_outlier_is_outvoted() {
        let mut reports = vec![(1000, 2500)];
        reports.extend([(1000, 1000); 20]);
        assert!(learned(&reports).corrected("m", 1000).abs_diff(1000) <= 60);
    }

    #[test]
    fn a_changed_tokenizer_is_learned() {
        let mut reports = vec![(1000, 1000); 30];
        reports.extend([(1000, 1350); 20]);
        assert!(learned(&reports).corrected("m", 1000).abs_diff(1350) <= 30);
    }

    #[test]
    fn corrections_are_bounded_and_survive_storage() {
        assert_eq!(learned(&[(1000, 1_000_000); 100]).corrected("m", 1000), 3000);
        assert_eq!(learned(&[(1_000_000, 1); 100]).corrected("m", 3000), 1000);
        let calibration = learned(&[(1000, 1234), (900, 1100)]);
        let stored = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&stored).unwrap(), calibration);
        let broken: Calibration =
            serde_json::from_str(r#"[{"model":"m","log_ratio":90.0,"reports":1}]"#).unwrap();
        assert_eq!(broken.corrected("m", 1000), 3000);
    }

    #[test]
    fn the_model_used_longest_ago_makes_room() {
        let mut calibration = learned(&[(1000, 2000)]);
        for number in 1..MOST_MODELS {
            calibration.learn(&number.to_string(), 1000, 1500);
        }
        calibration.learn("m", 1000, 2000);
        calibration.learn("one more", 1000, 1500);
        assert_ne!(calibration.corrected("m", 1000), 1000);
        assert_eq!(calibration.corrected("1", 1000), 1000);
        assert_eq!(calibration.models.len(), MOST_MODELS);
    }
}
