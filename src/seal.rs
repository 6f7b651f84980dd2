//! Sealed reasoning on its way through a client of another dialect: signatures and encrypted thoughts that only the
//! provider that made them can open.
//!
//! Invariant: a seal goes back, byte for byte, to the provider and dialect that made it and to no other; what carries no
//! mark of ours belongs to the provider that the client's dialect speaks natively with.

use crate::dialect::Dialect;
use crate::turn::Origin;

/// The mark in front of every wrapped seal, with the version of the form.
pub const MARK: &str = "mgw1";

/// A seal as a client of another dialect carries it: `mgw1:PROVIDER:DIALECT:SEAL`.
pub fn wrap(origin: &Origin, seal: &str) -> String {
    if is_wrapped(seal) {
        return seal.to_owned();
    }
    format!("{MARK}:{}:{}:{seal}", origin.provider, origin.dialect.word())
}

/// A seal in the place of one that is of no use without what it sealed. No provider can bear the name in it, so that none
/// gets it back, and the thought with it is left out.
pub fn of_nobody(dialect: Dialect) -> String {
    format!("{MARK}:/:{}:", dialect.word())
}

/// True for a seal that was wrapped.
pub fn is_wrapped(seal: &str) -> bool {
    parts(seal).is_some()
}

/// The seal that may be sent to `target`. `native` says that the message it stands in was written there.
pub fn opened<'a>(seal: &'a str, native: bool, target: &Origin) -> Option<&'a str> {
    match parts(seal) {
        Some((provider, dialect, inner)) => {
            (provider == target.provider && dialect == target.dialect.word()).then_some(inner)
        }
        None => native.then_some(seal),
    }
}

fn parts(seal: &str) -> Option<(&str, &str, &str)> {
    let rest = seal.strip_prefix(MARK)?.strip_prefix(':')?;
    let (provider, rest) = rest.split_once(':')?;
    let (dialect, inner) = rest.split_once(':')?;
    Dialect::from_word(dialect).map(|_| (provider, dialect, inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_goes_back_to_its_maker_only() {
        let maker = Origin { dialect: Dialect::Google, provider: "google".into() };
        let other = Origin { dialect: Dialect::Messages, provider: "anthropic".into() };
        let wrapped = wrap(&maker, "a:b+c/=");
        assert_eq!(wrapped, "mgw1:google:google:a:b+c/=");
        assert_eq!(wrap(&other, &wrapped), wrapped, "a wrapped seal is not wrapped again");
        for native in [false, true] {
            assert_eq!(opened(&wrapped, native, &maker), Some("a:b+c/="));
            assert_eq!(opened(&wrapped, native, &other), None);
        }
        assert_eq!(opened("EqQB", true, &other), Some("EqQB"));
        assert_eq!(opened("EqQB", false, &other), None);
        assert!(!is_wrapped("mgw1:google:klingon:x"));
        let of_nobody = of_nobody(Dialect::Messages);
        assert_eq!((wrap(&maker, &of_nobody), opened(&of_nobody, true, &other)), (of_nobody.clone(), None));
    }
}
