//! `Prefer` (RFC 7240): would the caller rather not wait?

use axum::http::HeaderMap;
use axum::http::header::HeaderName;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The one preference that means something here; others are ignored, as that RFC asks.
pub(super) const RESPOND_ASYNC: &str = "respond-async";

/// Returns whether a caller would rather come back for the answer.
pub(super) fn responds_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(preferences).any(|name| name.eq_ignore_ascii_case(RESPOND_ASYNC))
}

/// Returns the names of preferences, without their values and parameters.
fn preferences(value: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    // A comma within a quoted value is part of it.
    let separates = move |character| {
        if character == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = character == '\\' && is_quoted && !is_escaped;
        character == ',' && !is_quoted
    };
    value.split(separates).map(|preference| {
        let end = preference.find(['=', ';']).unwrap_or(preference.len());
        preference[..end].trim()
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn asks(values: &[&str]) -> bool {
        let pair = |value: &&str| (PREFER, value.parse().expect("a header value"));
        responds_async(&values.iter().map(pair).collect())
    }

    #[test]
    fn it_is_found_among_others_however_it_is_written() {
        for values in [
            &["respond-async"][..],
            &["Respond-Async"],
            &["wait=10, respond-async"],
            &["return=minimal; foo=\"a,b\" ,respond-async ; x=y"],
            &["respond-async;"],
            &["handling=lenient", "respond-async"],
            &["foo=\"a\\\"\", respond-async"],
            &[", ,respond-async"],
        ] {
            assert!(asks(values), "{values:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_something_else() {
        for values in [
            &[][..],
            &[""],
            &["respond-asynchronously"],
            &["x-respond-async"],
            &["respond async"],
            &["foo=respond-async"],
            &["foo; respond-async"],
            &["foo=\"a, respond-async, b\""],
            &["foo=\"a\\\", respond-async\""],
        ] {
            assert!(!asks(values), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_of_another_preference_hides_or_fakes_it(
            others in vec("[a-z]{1,8}(=(\"([ -!#-\\[\\]-~]|\\\\[\"\\\\])*\"|[a-z0-9]{0,8}))?( ?; ?[a-z]=[a-z])?", 0..4),
            at in any::<proptest::sample::Index>(),
            is_there in any::<bool>(),
        ) {
            let mut all = others;
            if is_there {
                all.insert(at.index(all.len() + 1), RESPOND_ASYNC.to_owned());
            }
            prop_assert_eq!(asks(&[&all.join(", ")]), is_there);
        }

        #[test]
        fn nothing_that_a_header_can_hold_is_too_much_for_it(value in "[ -~]*") {
            asks(&[&value]);
        }
    }
}
