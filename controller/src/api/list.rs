//! The query of `GET /api/sessions`: page, state and labels.

use service::Problem;
use session::ProblemType;
use session::problem::FieldError;
use store::Filter;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// Reads the query into a filter. Everything that is wrong is named at once.
pub fn filter_of_query(query: &str) -> Result<Filter, Problem> {
    let mut filter = Filter { limit: DEFAULT_LIMIT, ..Filter::default() };
    let mut errors = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if let Err(detail) = apply(&mut filter, &name, &value) {
            // The name is shortened, since it may be anything; the value is not repeated.
            errors.push(FieldError::new(name.chars().take(64).collect::<String>(), detail));
        }
    }
    match errors.first() {
        None => Ok(filter),
        Some(first) => {
            let detail = format!("{} {}", first.field, first.detail);
            Err(Problem::new(ProblemType::InvalidRequest, detail).with_fields(errors))
        }
    }
}

fn apply(filter: &mut Filter, name: &str, value: &str) -> Result<(), String> {
    match name {
        "limit" => match value.parse() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => filter.limit = limit,
            _ => return Err(format!("must be a whole number from 1 to {MAX_LIMIT}")),
        },
        "cursor" => match value.parse() {
            Ok(id) => filter.before = Some(id),
            Err(_) => return Err("must be the nextCursor of the page before".to_owned()),
        },
        "state" => match value.parse() {
            Ok(state) => filter.state = Some(state),
            Err(_) => return Err("must be pending, starting, running or ended".to_owned()),
        },
        "label" => match value.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                filter.labels.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err("must be KEY=VALUE; repeat it for several labels".to_owned()),
        },
        _ => return Err("is not a known parameter; limit, cursor, state and label are".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use session::SessionState;

    #[test]
    fn a_query_is_read_whole_or_refused_with_every_name() {
        let filter = filter_of_query("limit=7&state=running&label=team%3Da%26b&label=x=").unwrap();
        assert_eq!((filter.limit, filter.state), (7, Some(SessionState::Running)));
        assert_eq!(filter.labels, [("team".into(), "a&b".into()), ("x".into(), String::new())].into());
        assert_eq!(filter_of_query("").unwrap().limit, 20);

        let problem = filter_of_query("limit=101&cursor=zz&state=done&label=x&page=2").unwrap_err();
        let fields: Vec<_> = problem.fields().iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["limit", "cursor", "state", "label", "page"]);
    }
}
