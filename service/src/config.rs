//! Settings from flags and `CLISCALE_*` variables. clap reads them as text; [`Settings`] turns them into values and
//! collects everything that is wrong, so that a start fails once, with the whole list.

use std::fmt::{self, Display};
use std::str::FromStr;

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used:")?;
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects what is wrong while values are read.
#[derive(Debug, Default)]
pub struct Settings {
    errors: Vec<String>,
}

impl Settings {
    /// Reads the text given for a flag; `None` when it cannot be read, which [`Settings::finish`] will report.
    pub fn read<T: FromStr<Err: Display>>(&mut self, flag: &str, text: &str) -> Option<T> {
        text.trim().parse().map_err(|error| self.refuse(flag, format!("{text:?}: {error}"))).ok()
    }

    /// The same for an optional flag; an empty text counts as not given, as charts and compose files write it.
    pub fn read_optional<T: FromStr<Err: Display>>(&mut self, flag: &str, text: &Option<String>) -> Option<T> {
        let text = text.as_deref().filter(|text| !text.trim().is_empty())?;
        self.read(flag, text)
    }

    /// Reads a number within limits, both included.
    pub fn read_range<T>(&mut self, flag: &str, text: &str, min: T, max: T) -> Option<T>
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        let value = self.read::<T>(flag, text)?;
        if value < min || value > max {
            self.refuse(flag, format!("{value}: {min} to {max} are possible"));
            return None;
        }
        Some(value)
    }

    /// Notes that the value given for `flag` cannot be used, and why.
    pub fn refuse(&mut self, flag: &str, why: impl Display) {
        self.errors.push(format!("{flag} ({}): {why}", variable_of(flag)));
    }

    /// Runs `build` when nothing was wrong. Whatever `read` answered `None` for was noted, so `build` may rely on the
    /// others.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, ConfigErrors> {
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        build().ok_or_else(|| ConfigErrors(vec!["a value is missing".to_owned()]))
    }
}

/// `--create-rate` is also `CLISCALE_CREATE_RATE`.
pub fn variable_of(flag: &str) -> String {
    format!("CLISCALE_{}", flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase())
}

/// A rate such as `5/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerMinute(pub u32);

impl FromStr for PerMinute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix("/min")
            .and_then(|number| number.trim().parse().ok())
            .filter(|&number| (1..=1_000_000).contains(&number))
            .map(Self)
            .ok_or_else(|| "expected a whole number from 1 to 1000000, then /min, such as 60/min".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_reported_at_once_with_flag_and_variable() {
        let mut settings = Settings::default();
        let port = settings.read_range::<u16>("--port", "0", 1, 9);
        let rate = settings.read::<PerMinute>("--create-rate", "5/h");
        assert_eq!(settings.read_optional::<u16>("--other", &Some(" ".into())), None);
        let errors = settings.finish(|| Some((port?, rate?))).unwrap_err();
        assert_eq!(errors.0.len(), 2);
        assert_eq!(errors.0[0], "--port (CLISCALE_PORT): 0: 1 to 9 are possible");
        assert!(errors.0[1].starts_with("--create-rate (CLISCALE_CREATE_RATE): \"5/h\": expected"), "{errors}");
    }

    #[test]
    fn a_rate_needs_its_unit() {
        assert_eq!("60/min".parse(), Ok(PerMinute(60)));
        assert!("60".parse::<PerMinute>().is_err());
        assert!("0/min".parse::<PerMinute>().is_err());
    }
}
