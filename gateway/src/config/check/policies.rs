//! `[[policy]]`: modules, grants, and the policy's own table as JSON.

use policy_host::Grant;
use toml::Spanned;

use super::fields::Fields;
use crate::config::raw::RawPolicy;
use crate::config::report::Problem;
use crate::config::{OnFault, PolicyConfig};

/// Shared stores of one policy: each is a name that somebody wrote for a purpose.
const MAX_SHARED_STORES: usize = 16;
/// A component with no memory to speak of up to one that holds a language runtime.
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=4 * 1024 * 1024 * 1024;

pub(super) fn check(policy: &Spanned<RawPolicy>, fields: &mut Fields<'_>) -> Option<PolicyConfig> {
    let raw = policy.get_ref();
    let known = Grant::ALL.map(Grant::name);
    for grant in &raw.grants {
        if !known.contains(&grant.get_ref().as_str()) {
            fields.unknown(grant, "grant", &known);
        }
    }
    shared_stores(raw, fields);
    let on_fault = fields.word(
        raw.on_fault.as_ref(),
        &[("deny", OnFault::Deny), ("skip", OnFault::Skip)],
        OnFault::Deny,
    );
    let fuel = raw
        .fuel
        .as_ref()
        .map(|fuel| fields.count(Some(fuel), 1, 1..=u64::MAX));
    let memory = raw
        .max_memory_bytes
        .as_ref()
        .map(|size| fields.size(Some(size), 1 << 20, MEMORY_BYTES));
    Some(PolicyConfig {
        name: raw.name.get_ref().clone(),
        module: fields.path(&raw.module),
        grants: texts(&raw.grants),
        kv_shared: texts(&raw.kv_shared),
        config_json: config_json(raw, fields),
        on_fault,
        fuel,
        max_memory_bytes: memory,
        deadline: raw.deadline.map(|span| span.0),
    })
}

fn shared_stores(raw: &RawPolicy, fields: &mut Fields<'_>) {
    for store in &raw.kv_shared {
        fields.name(store);
    }
    let granted = raw
        .grants
        .iter()
        .any(|grant| grant.get_ref() == Grant::Kv.name());
    if let Some(first) = raw.kv_shared.first().filter(|_| !granted) {
        fields.problem(
            Problem::new(first.span(), "this policy is not granted any store")
                .help("add \"kv\" to its grants"),
        );
    }
    if let Some(over) = raw.kv_shared.get(MAX_SHARED_STORES) {
        fields.problem(Problem::new(
            over.span(),
            format!("a policy may share at most {MAX_SHARED_STORES} stores"),
        ));
    }
}

fn config_json(raw: &RawPolicy, fields: &mut Fields<'_>) -> String {
    let Some(table) = &raw.config else {
        return "{}".to_owned();
    };
    match serde_json::to_string(table.get_ref()) {
        Ok(json) => json,
        Err(error) => {
            fields.problem(
                Problem::new(
                    table.span(),
                    format!("this table cannot be handed to the policy as JSON: {error}"),
                )
                .help("use text, whole numbers, finite numbers, true, false, lists and tables"),
            );
            "{}".to_owned()
        }
    }
}

fn texts(list: &[Spanned<String>]) -> Vec<String> {
    list.iter().map(|text| text.get_ref().clone()).collect()
}
