//! Routes: method and path pattern to a value. A thin table over `matchit`.

use std::collections::BTreeMap;

use http::Method;

/// Why no route fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRoute {
    /// No pattern has this path.
    NotFound,
    /// The path exists with other methods.
    MethodNotAllowed,
}

/// Path parameters, in the order of the pattern.
pub type Params = Vec<(String, String)>;

/// A route table. Patterns are matchit's: `/containers/{id}/json`, `/images/{*name}`.
pub struct Router<T> {
    paths: matchit::Router<BTreeMap<String, T>>,
    patterns: BTreeMap<String, Vec<(Method, T)>>,
}

impl<T: Clone> Router<T> {
    /// Builds the table. Panics when two patterns contradict each other: the tables are constants.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = (Method, &'static str, T)>) -> Router<T> {
        let mut patterns: BTreeMap<String, Vec<(Method, T)>> = BTreeMap::new();
        for (method, pattern, value) in routes {
            patterns
                .entry(pattern.to_string())
                .or_default()
                .push((method, value));
        }
        let mut paths = matchit::Router::new();
        for (pattern, methods) in &patterns {
            let by_method = methods
                .iter()
                .map(|(method, value)| (method.to_string(), value.clone()))
                .collect();
            if let Err(error) = paths.insert(pattern, by_method) {
                panic!("route {pattern}: {error}");
            }
        }
        Router { paths, patterns }
    }

    /// The route for a method and a path, with its parameters (not percent-decoded).
    pub fn find(&self, method: &Method, path: &str) -> Result<(T, Params), NoRoute> {
        let found = self.paths.at(path).map_err(|_| NoRoute::NotFound)?;
        let value = found
            .value
            .get(method.as_str())
            .ok_or(NoRoute::MethodNotAllowed)?;
        let params = found
            .params
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Ok((value.clone(), params))
    }

    /// All routes by pattern, for coverage documents.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &Method, &T)> {
        self.patterns.iter().flat_map(|(pattern, methods)| {
            methods
                .iter()
                .map(move |(method, value)| (pattern.as_str(), method, value))
        })
    }
}
