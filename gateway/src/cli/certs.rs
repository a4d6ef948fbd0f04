//! `veilgate certs`: an authority, a server certificate and a site's client certificate, for demos, tests and closed installations.

use std::path::PathBuf;

use transport::certs::{self, CertFiles};

use super::Failure;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder to write to: ca.pem, server.pem, server.key, <site>.pem, <site>.key
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Names and addresses in the server's certificate
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1"
    )]
    names: Vec<String>,
    /// The site in the client certificate, by which the aggregator knows it
    #[arg(long, value_name = "SITE", default_value = "edge-1")]
    site: edge_types::SiteId,
    /// Write over certificates that are there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let existing = CertFiles::named(&args.out, "ca").cert;
    if existing.exists() && !args.force {
        let file = existing.display();
        return Err(Failure::new(format!(
            "{file} exists; give another folder, or --force to make everything anew (what trusts the old authority will not trust the new one)"
        )));
    }
    let failed = |error: transport::TlsError| Failure::new(error.to_string());
    let ca = certs::make_ca(&args.out, "Veilgate demo authority").map_err(failed)?;
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let server = certs::issue_server(&ca, &args.out, "server", &names).map_err(failed)?;
    let client = certs::issue_client(&ca, &args.out, args.site.as_str()).map_err(failed)?;
    println!("authority  {}", ca.cert.display());
    println!(
        "server     {} (for {})",
        server.cert.display(),
        args.names.join(", ")
    );
    println!(
        "client     {} (for site {})",
        client.cert.display(),
        args.site
    );
    println!(
        "Keys are beside them, readable by you alone. Keep {} off the machines that serve.",
        ca.key.display()
    );
    Ok(())
}
