use wit_parser::{Resolve, SizeAlign, TypeDefKind};

use super::*;

const CONTRACT: &str = include_str!("../../../../../guest-sdk/wit/policy.wit");

struct Wit {
    resolve: Resolve,
    sizes: SizeAlign,
}

fn wit() -> Wit {
    let mut resolve = Resolve::default();
    resolve
        .push_str("policy.wit", CONTRACT)
        .expect("the contract");
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve).expect("sizes");
    Wit { resolve, sizes }
}

/// As Rust writes it: `retry_after` and `NotFound` both come to `retryafter` and `notfound`.
fn plain(name: &str) -> String {
    name.replace(['-', '_'], "").to_lowercase()
}

impl Wit {
    /// The layout of a type, and the names within it.
    fn check(&self, interface: &str, name: &str, place: Place, names: Option<&[&str]>) {
        let (_, found) = self
            .resolve
            .interfaces
            .iter()
            .find(|(_, it)| it.name.as_deref() == Some(interface))
            .unwrap_or_else(|| panic!("{interface}"));
        let id = found.types[name];
        let ty = wit_parser::Type::Id(id);
        let expected = Place {
            size: self.sizes.size(&ty).size_wasm32(),
            align: self.sizes.align(&ty).align_wasm32(),
        };
        assert_eq!(place, expected, "{interface}.{name}");
        let expected: Vec<String> = match &self.resolve.types[id].kind {
            TypeDefKind::Record(record) => record.fields.iter().map(|it| plain(&it.name)).collect(),
            TypeDefKind::Enum(cases) => cases.cases.iter().map(|it| plain(&it.name)).collect(),
            _ => return,
        };
        let names: Vec<String> = names.expect("names").iter().map(|it| plain(it)).collect();
        assert_eq!(names, expected, "{interface}.{name}");
    }
}

#[test]
fn every_type_lies_where_the_contract_puts_it() {
    let wit = wit();
    macro_rules! check {
        ($($interface:literal . $name:literal: $type:ty as $way:ident;)*) => {$(
            wit.check($interface, $name, <$type as $way>::PLACE, Some(<$type as Names>::NAMES));
        )*};
    }
    check! {
        "types"."error": types::Error as Save;
        "types"."body-need": types::BodyNeed as Load;
        "types"."local-response": types::LocalResponse as Load;
        "types"."route-choice": types::RouteChoice as Load;
        "types"."decision": types::Decision as Load;
        "outcome-hook"."verdict": outcome_hook::Verdict as Load;
        "request"."identity": request::Identity as Save;
        "request"."request-info": request::RequestInfo as Save;
        "response"."source": response::Source as Save;
        "log"."level": log::Level as Load;
        "metrics"."kind": metrics::Kind as Load;
        "limits"."algorithm": limits::Algorithm as Load;
        "limits"."verdict": limits::Verdict as Save;
        "limits"."share": limits::Share as Load;
        "limits"."share": ShareInPlace as Load;
        "limits"."standing-share": limits::StandingShare as Load;
        "breakers"."state": breakers::State as Save;
        "kv"."entry": kv::Entry as Save;
        "upstreams"."endpoint": upstreams::Endpoint as Save;
        "upstreams"."stats": upstreams::Stats as Save;
        "llm"."usage": llm::Usage as Save;
    }
    wit.check("types", "chunk-action", types::ChunkAction::PLACE, None);
    wit.check("attempt-hook", "choice", attempt_hook::Choice::PLACE, None);
    wit.check("limits", "key-source", limits::KeySource::PLACE, None);
    wit.check("scope", "test", scope::Test::PLACE, None);
    wit.check("breakers", "admission", breakers::Admission::PLACE, None);
}
