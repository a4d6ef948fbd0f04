//! `[[listener]]`: addresses, protocols, certificates.

use toml::Spanned;

use super::fields::Fields;
use crate::config::raw::{RawListener, RawListenerTls};
use crate::config::report::Problem;
use crate::config::{ListenerConfig, ListenerTls, Protocols};

const WORDS: [&str; 3] = ["h1", "h2", "h3"];

pub(super) fn check(raw: &[Spanned<RawListener>], fields: &mut Fields<'_>) -> Vec<ListenerConfig> {
    if raw.is_empty() {
        fields.problem(
            Problem::new(0..0, "there is no listener")
                .help("add a [[listener]] with addr = \"127.0.0.1:8443\" and tls"),
        );
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for listener in raw {
        let Some(checked) = one(listener, fields) else {
            continue;
        };
        if checked.addr.port() != 0 && listeners.iter().any(|other| other.addr == checked.addr) {
            fields.problem(Problem::new(
                listener.get_ref().addr.span(),
                "two listeners have this address",
            ));
        }
        listeners.push(checked);
    }
    listeners
}

fn one(listener: &Spanned<RawListener>, fields: &mut Fields<'_>) -> Option<ListenerConfig> {
    let raw = listener.get_ref();
    let addr = fields.addr(&raw.addr)?;
    let protocols = protocols(raw, fields);
    let tls = raw.tls.as_ref().map(|tls| certificates(tls, fields));
    if tls.is_none() && protocols.h3 {
        fields.problem(
            Problem::new(raw.addr.span(), "h3 needs certificates")
                .help("add tls = { cert = \"…\", key = \"…\" } to this listener"),
        );
    }
    if tls.is_none() && !addr.ip().is_loopback() && !raw.allow_plain {
        fields.problem(
            Problem::new(raw.addr.span(), "this listener would speak plain text on an address that others can reach")
                .help("add tls = { cert = \"…\", key = \"…\" }, or allow_plain = true if something in front of it ends TLS"),
        );
    }
    let alt_svc = raw.alt_svc.unwrap_or(true) && protocols.h3;
    Some(ListenerConfig {
        addr,
        protocols,
        tls,
        alt_svc,
    })
}

fn protocols(raw: &RawListener, fields: &mut Fields<'_>) -> Protocols {
    let Some(list) = &raw.protocols else {
        return Protocols {
            h1: true,
            h2: true,
            h3: raw.tls.is_some(),
        };
    };
    if list.get_ref().is_empty() {
        fields.problem(
            Problem::new(list.span(), "a listener without protocols serves nobody")
                .help("name some of \"h1\", \"h2\", \"h3\""),
        );
    }
    let mut protocols = Protocols {
        h1: false,
        h2: false,
        h3: false,
    };
    for word in list.get_ref() {
        match word.get_ref().as_str() {
            "h1" => protocols.h1 = true,
            "h2" => protocols.h2 = true,
            "h3" => protocols.h3 = true,
            _ => fields.unknown(word, "protocol", &WORDS),
        }
    }
    protocols
}

fn certificates(raw: &RawListenerTls, fields: &Fields<'_>) -> ListenerTls {
    ListenerTls {
        cert: fields.path(&raw.cert),
        key: fields.path(&raw.key),
        client_ca: raw.client_ca.as_deref().map(|path| fields.path(path)),
    }
}
