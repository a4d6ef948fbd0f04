//! Which route takes a request. Made once; a look-up allocates nothing.
//!
//! The order: an exact host before a wildcard (the longer first) before any host; then an exact path before the longest prefix; a
//! route that names methods before one that takes all.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use policy_host::Chain;

use super::normalize::Head;
use crate::config::{PathMatch, RouteConfig};
use crate::error::{Kind, ProxyError, RequestFault, Side};

/// A route with its policies loaded.
pub struct Route {
    pub name: Arc<str>,
    pub config: RouteConfig,
    pub chain: Chain,
    /// One of its policies was granted the cache.
    pub may_cache: bool,
}

/// All routes.
pub struct Routes {
    by_host: HashMap<String, Vec<Arc<Route>>>,
    /// `.example.org`, longest first.
    by_suffix: Vec<(String, Vec<Arc<Route>>)>,
    any_host: Vec<Arc<Route>>,
    all: Vec<Arc<Route>>,
}

impl Routes {
    pub fn new(routes: Vec<Route>) -> Self {
        let all: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
        let mut sorted = all.clone();
        sorted.sort_by_key(|route| rank(&route.config));
        let mut this = Self {
            by_host: HashMap::new(),
            by_suffix: Vec::new(),
            any_host: Vec::new(),
            all,
        };
        for route in sorted {
            match &route.config.host {
                None => this.any_host.push(route),
                Some(host) => match host.strip_prefix('*') {
                    Some(suffix) => this.suffix(suffix).push(route),
                    None => this.by_host.entry(host.clone()).or_default().push(route),
                },
            }
        }
        this.by_suffix
            .sort_by_key(|(suffix, _)| Reverse(suffix.len()));
        this
    }

    fn suffix(&mut self, suffix: &str) -> &mut Vec<Arc<Route>> {
        let at = self
            .by_suffix
            .iter()
            .position(|(known, _)| known == suffix)
            .unwrap_or_else(|| {
                self.by_suffix.push((suffix.to_owned(), Vec::new()));
                self.by_suffix.len() - 1
            });
        &mut self.by_suffix[at].1
    }

    pub fn all(&self) -> &[Arc<Route>] {
        &self.all
    }

    pub(super) fn find(&self, head: &Head) -> Result<Arc<Route>, ProxyError> {
        self.pick(head.host(), head.target.path(), &head.method)
    }

    fn pick(&self, host: &str, path: &str, method: &Method) -> Result<Arc<Route>, ProxyError> {
        let mut other_method = false;
        let suffixes = self
            .by_suffix
            .iter()
            .filter(|(suffix, _)| host.ends_with(suffix.as_str()))
            .map(|(_, routes)| routes);
        let groups = self
            .by_host
            .get(host)
            .into_iter()
            .chain(suffixes)
            .chain(std::iter::once(&self.any_host));
        for route in groups
            .flatten()
            .filter(|route| takes_path(&route.config.path, path))
        {
            let methods = &route.config.methods;
            if methods.is_empty()
                || methods.contains(method)
                || (*method == Method::HEAD && methods.contains(&Method::GET))
            {
                return Ok(route.clone());
            }
            other_method = true;
        }
        if other_method {
            return Err(ProxyError::request(
                RequestFault::MethodNotAllowed,
                format!("no route takes {method} for this path"),
            ));
        }
        Err(ProxyError::new(
            Kind::Request(RequestFault::NoRoute),
            Side::Client,
            "no route takes this host and path",
        ))
    }
}

fn rank(config: &RouteConfig) -> impl Ord + use<> {
    let (inexact, length) = match &config.path {
        PathMatch::Exact(path) => (false, path.len()),
        PathMatch::Prefix(prefix) => (true, prefix.len()),
    };
    (inexact, Reverse(length), config.methods.is_empty())
}

/// Prefixes match whole segments: `/api` takes `/api` and `/api/x`, and not `/apix`.
fn takes_path(matcher: &PathMatch, path: &str) -> bool {
    match matcher {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => path
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Handler, RecordMode};

    fn route(name: &str, host: Option<&str>, path: PathMatch, methods: &[Method]) -> Route {
        let config = RouteConfig {
            name: name.to_owned(),
            host: host.map(str::to_owned),
            path,
            methods: methods.to_vec(),
            policies: Vec::new(),
            handler: Handler::Upstream("origin".to_owned()),
            record: RecordMode::None,
            max_body_bytes: 0,
            timeout: Duration::ZERO,
        };
        Route {
            name: Arc::from(name),
            config,
            chain: Chain::default(),
            may_cache: false,
        }
    }

    fn routes() -> Routes {
        let prefix = |path: &str| PathMatch::Prefix(path.to_owned());
        let exact = |path: &str| PathMatch::Exact(path.to_owned());
        Routes::new(vec![
            route("any", None, prefix("/"), &[]),
            route("api", None, prefix("/api"), &[]),
            route("api-posts", None, prefix("/api"), &[Method::POST]),
            route("health", None, exact("/api/health"), &[Method::GET]),
            route("wild", Some("*.example.org"), prefix("/"), &[]),
            route("wilder", Some("*.a.example.org"), prefix("/only"), &[]),
            route("host", Some("www.example.org"), prefix("/x"), &[]),
        ])
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = routes();
        let check = |host: &str, path: &str, method: Method, expected: &str| {
            let found = routes
                .pick(host, path, &method)
                .map(|route| route.name.to_string());
            assert_eq!(found.expect("a route"), expected, "{method} {host}{path}");
        };
        check("localhost", "/", Method::GET, "any");
        check("localhost", "/apix", Method::GET, "any");
        check("localhost", "/api", Method::GET, "api");
        check("localhost", "/api/x", Method::GET, "api");
        check("localhost", "/api/x", Method::POST, "api-posts");
        check("localhost", "/api/health", Method::GET, "health");
        check("localhost", "/api/health", Method::HEAD, "health");
        check("localhost", "/api/health", Method::POST, "api-posts");
        check("www.example.org", "/x/y", Method::GET, "host");
        check("www.example.org", "/y", Method::GET, "wild");
        check("b.a.example.org", "/only", Method::GET, "wilder");
        check("b.a.example.org", "/api", Method::GET, "wild");
        check("example.org", "/", Method::GET, "any");
    }

    #[test]
    fn a_path_that_only_other_methods_may_use_is_told_from_one_that_is_not_there() {
        let routes = Routes::new(vec![route(
            "get",
            None,
            PathMatch::Exact("/a".into()),
            &[Method::GET],
        )]);
        let kind = |path: &str| {
            routes
                .pick("h", path, &Method::POST)
                .err()
                .map(|error| error.kind)
        };
        assert_eq!(
            kind("/a"),
            Some(Kind::Request(RequestFault::MethodNotAllowed))
        );
        assert_eq!(kind("/b"), Some(Kind::Request(RequestFault::NoRoute)));
    }
}
