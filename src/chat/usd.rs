//! How an amount of money is written.

use std::fmt;

/// An amount in USD. Written as a plain decimal number to the tenth of a billionth, since a token of the cheapest model
/// costs about a hundred-millionth; never with an exponent, which those who read headers with `awk` or `bc` trip over.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Usd(pub f64);

const DIGITS: usize = 10;

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding zero makes no difference but to a negative one.
        let written = format!("{:.DIGITS$}", self.0 + 0.0);
        let short = if written.contains('.') { written.trim_end_matches('0') } else { &written };
        f.write_str(short.strip_suffix('.').unwrap_or(short))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_a_plain_decimal_without_noise() {
        for (usd, written) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.000_052_3, "0.0000523"),
            (0.1 + 0.2, "0.3"),
            (5e-9, "0.000000005"),
            (1e-11, "0"),
            (100.0, "100"),
            (1_234.5, "1234.5"),
            (1e16, "10000000000000000"),
        ] {
            assert_eq!(Usd(usd).to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_amount(usd in 0.0..1e6) {
            let written = Usd(usd).to_string();
            prop_assert!((written.parse::<f64>().unwrap() - usd).abs() <= 1e-10, "{}", written);
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        }
    }
}
