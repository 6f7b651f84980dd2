//! Which routes are thought to work: a circuit for each provider, model and credential.
//!
//! Invariant: a circuit that is open lets one probe through at a time; one caller's credential says nothing of another's;
//! the memory of it all is bounded.

use std::collections::BTreeMap;

use crate::keys::{Secret, digest};

/// How many circuits are kept; the one that was touched the longest ago goes first.
const MOST_CIRCUITS: usize = 1_000;

/// After so long without a failure, in milliseconds, those before it say nothing any more.
const FORGOTTEN_MS: u64 = 60_000;

/// How often an open time is doubled at most.
const MOST_DOUBLINGS: u32 = 4;

/// Names a circuit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Circuit {
    provider: String,
    /// Empty for all models of the credential.
    model: String,
    /// A digest: what is kept for long holds no secret.
    credential: [u8; 32],
}

impl Circuit {
    /// The circuit of a provider, its model and a credential.
    pub fn of(provider: &str, model: &str, credential: Option<&Secret>) -> Self {
        Circuit {
            provider: provider.to_owned(),
            model: model.to_owned(),
            credential: digest(&[credential.map_or("", |secret| secret.reveal())]),
        }
    }

    /// The circuit of its credential, for all models.
    pub fn of_credential(mut self) -> Self {
        self.model.clear();
        self
    }
}

/// Whether a route may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may; where the circuit was open, this is its probe.
    Ask,
    /// Only where nothing else is left: its provider wants to be left alone, or refused the credential.
    Rest,
    /// It may not: it failed too often.
    Open,
}

#[derive(Clone, Debug, Default)]
struct State {
    failures: u32,
    opened: u32,
    open_until: Option<u64>,
    rest_until: u64,
    touched: u64,
}

/// The circuits of one isolate. Others learn for themselves: to ask them would cost what is to be saved.
#[derive(Debug)]
pub struct Breaker {
    circuits: BTreeMap<Circuit, State>,
    failures: u32,
    open_ms: u64,
}

impl Breaker {
    /// A breaker that opens a circuit after so many failures in a row, at first for so many milliseconds.
    pub fn new(failures: u32, open_ms: u64) -> Self {
        Breaker { circuits: BTreeMap::new(), failures, open_ms }
    }

    /// True when nothing failed: then every route may be asked.
    pub fn is_quiet(&self) -> bool {
        self.circuits.is_empty()
    }

    /// Whether the route of a circuit may be asked now. Whoever is let through by an open circuit is its probe, and has to
    /// tell how it went; who does not tell is followed by the next after the open time.
    pub fn permit(&mut self, circuit: &Circuit, now: u64) -> Permit {
        let rests = self
            .circuits
            .get(&circuit.clone().of_credential())
            .is_some_and(|credential| now < credential.rest_until);
        let Some(state) = self.circuits.get_mut(circuit) else {
            return if rests { Permit::Rest } else { Permit::Ask };
        };
        match state.open_until {
            Some(until) if now < until => Permit::Open,
            Some(_) => {
                state.open_until = Some(now + self.open_ms);
                state.touched = now;
                Permit::Ask
            }
            None if rests || now < state.rest_until => Permit::Rest,
            None => Permit::Ask,
        }
    }

    /// It answered.
    pub fn succeeded(&mut self, circuit: &Circuit) {
        self.circuits.remove(circuit);
        self.circuits.remove(&circuit.clone().of_credential());
    }

    /// It failed in a way that another request may meet, too. Gives true when its circuit is open from now on.
    pub fn failed(&mut self, circuit: Circuit, now: u64) -> bool {
        let (most, open_ms) = (self.failures, self.open_ms);
        let state = self.state(circuit, now);
        let forgotten = state.open_until.is_none() && now.saturating_sub(state.touched) > FORGOTTEN_MS;
        state.failures = if forgotten { 1 } else { state.failures.saturating_add(1) };
        state.touched = now;
        if state.failures >= most {
            // One that fails right after its probe is open for longer each time.
            let doublings = state.opened.min(MOST_DOUBLINGS);
            state.open_until = Some(now + (open_ms << doublings));
            state.opened += 1;
        }
        state.open_until.is_some()
    }

    /// It is to be left alone until then.
    pub fn rest(&mut self, circuit: Circuit, now: u64, until: u64) {
        let state = self.state(circuit, now);
        state.rest_until = state.rest_until.max(until);
        state.touched = now;
    }

    fn state(&mut self, circuit: Circuit, now: u64) -> &mut State {
        if self.circuits.len() >= MOST_CIRCUITS && !self.circuits.contains_key(&circuit) {
            let oldest = self.circuits.iter().min_by_key(|(_, state)| state.touched);
            if let Some(oldest) = oldest.map(|(circuit, _)| circuit.clone()) {
                self.circuits.remove(&oldest);
            }
        }
        self.circuits.entry(circuit).or_insert_with(|| State { touched: now, ..State::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit(model: &str, credential: &str) -> Circuit {
        Circuit { provider: "p".into(), model: model.into(), credential: digest(&[credential]) }
    }

    #[test]
    fn a_circuit_opens_after_failures_in_a_row_and_lets_one_probe_through() {
        let (mut breaker, of) = (Breaker::new(3, 1_000), circuit("m", "k"));
        for at in [0, 10] {
            breaker.failed(of.clone(), at);
            assert_eq!(breaker.permit(&of, at), Permit::Ask);
        }
        breaker.failed(of.clone(), 20);
        assert_eq!((breaker.permit(&of, 21), breaker.permit(&of, 1_019)), (Permit::Open, Permit::Open));
        assert_eq!((breaker.permit(&of, 1_020), breaker.permit(&of, 1_021)), (Permit::Ask, Permit::Open));
        // The probe fails: open twice as long.
        breaker.failed(of.clone(), 1_100);
        assert_eq!((breaker.permit(&of, 3_099), breaker.permit(&of, 3_100)), (Permit::Open, Permit::Ask));
        breaker.succeeded(&of);
        assert_eq!(breaker.permit(&of, 3_101), Permit::Ask);
        breaker.failed(of.clone(), 3_102);
        assert_eq!(breaker.permit(&of, 3_103), Permit::Ask);
    }

    #[test]
    fn a_probe_of_which_nobody_tells_is_followed_by_another() {
        let (mut breaker, of) = (Breaker::new(1, 1_000), circuit("m", "k"));
        breaker.failed(of.clone(), 0);
        assert_eq!((breaker.permit(&of, 1_000), breaker.permit(&of, 1_999)), (Permit::Ask, Permit::Open));
        assert_eq!(breaker.permit(&of, 2_000), Permit::Ask);
    }

    #[test]
    fn a_success_and_a_long_peace_make_failures_forgotten() {
        let (mut breaker, of) = (Breaker::new(2, 1_000), circuit("m", "k"));
        breaker.failed(of.clone(), 0);
        breaker.succeeded(&of);
        breaker.failed(of.clone(), 1);
        assert_eq!(breaker.permit(&of, 2), Permit::Ask);
        breaker.failed(of.clone(), 2 + FORGOTTEN_MS);
        assert_eq!(breaker.permit(&of, 3 + FORGOTTEN_MS), Permit::Ask);
        breaker.failed(of.clone(), 3 + FORGOTTEN_MS);
        assert_eq!(breaker.permit(&of, 4 + FORGOTTEN_MS), Permit::Open);
    }

    #[test]
    fn circuits_of_other_models_and_credentials_stay_whole() {
        let mut breaker = Breaker::new(1, 1_000);
        breaker.failed(circuit("m", "k"), 0);
        breaker.rest(circuit("m", "r").of_credential(), 0, 500);
        for (of, permit) in [
            (circuit("m", "k"), Permit::Open),
            (circuit("n", "k"), Permit::Ask),
            (circuit("m", "l"), Permit::Ask),
            (circuit("m", "r"), Permit::Rest),
            (circuit("n", "r"), Permit::Rest),
        ] {
            assert_eq!(breaker.permit(&of, 1), permit, "{of:?}");
        }
        assert_eq!(breaker.permit(&circuit("n", "r"), 500), Permit::Ask);
    }

    #[test]
    fn the_number_of_circuits_is_bounded() {
        let mut breaker = Breaker::new(1, 1_000_000);
        for n in 0..MOST_CIRCUITS + 10 {
            breaker.failed(circuit(&n.to_string(), "k"), n as u64);
        }
        assert_eq!(breaker.circuits.len(), MOST_CIRCUITS);
        assert_eq!(breaker.permit(&circuit("0", "k"), 5_000), Permit::Ask);
        assert_eq!(breaker.permit(&circuit(&(MOST_CIRCUITS + 9).to_string(), "k"), 5_000), Permit::Open);
    }
}
