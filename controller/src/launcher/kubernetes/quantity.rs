//! Amounts of resources as Kubernetes writes them.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// A positive amount such as `500m`, `2` or `1.5Gi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount(String);

/// The suffixes of Kubernetes' quantities; exponents are left out, since nobody writes them by hand.
const SUFFIXES: [&str; 14] = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let positive = number.parse::<f64>().is_ok_and(|number| number.is_finite() && number > 0.0);
        if positive && SUFFIXES.contains(&suffix) {
            return Ok(Self(text.to_owned()));
        }
        Err("expected an amount as Kubernetes writes it, such as 500m, 2 or 1.5Gi")
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Amount> for Quantity {
    fn from(amount: &Amount) -> Self {
        Self(amount.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_what_the_api_server_takes() {
        for good in ["1", "500m", "0.5", "1.5Gi", "128Mi", "4G"] {
            assert_eq!(good.parse::<Amount>().unwrap().to_string(), good);
        }
        for bad in ["", "0", "-1", "1GB", "1 Gi", "Gi", "one", "1..5", "NaN", "inf"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }
}
