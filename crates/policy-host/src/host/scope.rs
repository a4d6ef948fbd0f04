//! `scope`: for which requests a policy is there.

use http::{HeaderName, HeaderValue};

use crate::bindings::veilgate::policy::scope::{Host, Test};
use crate::error::HostRefusal;
use crate::standing::{self, Scope};
use crate::state::HostState;

fn test(test: Test) -> Result<standing::Test, HostRefusal> {
    let name = |name: String| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HostRefusal("a scope by a header whose name is none"))
    };
    Ok(match test {
        Test::Method(list) => standing::Test::Method(list),
        Test::Path(list) => standing::Test::Path(list),
        Test::PathPrefix(list) => standing::Test::PathPrefix(list),
        Test::Host(list) => standing::Test::Host(list),
        Test::HasHeader(field) => standing::Test::HasHeader(name(field)?),
        Test::NoHeader(field) => standing::Test::NoHeader(name(field)?),
        Test::Header((field, value)) => {
            let value = HeaderValue::try_from(value)
                .map_err(|_| HostRefusal("a scope by a header's value that is none"))?;
            standing::Test::Header(name(field)?, value)
        }
    })
}

impl Host for HostState {
    fn only(&mut self, any_of: Vec<Vec<Test>>) -> wasmtime::Result<()> {
        self.only_in_configure("a scope that is set outside of configure")?;
        let group = |tests: Vec<Test>| tests.into_iter().map(test).collect();
        let groups = any_of.into_iter().map(group).collect::<Result<_, _>>()?;
        self.standing.scope = Some(Scope::new(groups)?);
        Ok(())
    }
}
