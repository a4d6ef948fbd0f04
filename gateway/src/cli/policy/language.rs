//! The languages that `policy new` and `policy build` know.

use std::fmt;

use clap::ValueEnum;
use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Deserialize)]
#[value(rename_all = "lower")]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    Rust,
    C,
    Zig,
    #[value(alias = "as")]
    AssemblyScript,
    Js,
    Ts,
    Python,
    Go,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::C => "c",
            Language::Zig => "zig",
            Language::Python => "python",
            Language::Go => "go",
            Language::Rust => "rust",
            Language::AssemblyScript => "assemblyscript",
            Language::Ts => "ts",
            Language::Js => "js",
        })
    }
}
