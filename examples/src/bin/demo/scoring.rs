//! Part 4: keys made, the evaluation key registered, rows encrypted, scored over HTTP/3 and decrypted, by the ordinary CLI.

use crate::processes::output;
use crate::site::Site;
use crate::summary::Summary;
use crate::Failure;

/// (what it is, program, parameter set, how many rows): the ensemble costs ten bootstraps a row.
const MODELS: [(&str, &str, &str, u32); 2] = [
    ("linear model", "breast-cancer-linear", "linear", 114),
    ("tree ensemble", "breast-cancer-trees", "2_2", 60),
];

pub async fn show(site: &Site, summary: &mut Summary) -> Result<(), Failure> {
    println!("   data: the Wisconsin diagnostic breast-cancer set, rows that neither model was trained on");
    for (what, program, parameters, rows) in MODELS {
        let keys = site.work.join("keys").join(program);
        make_keys(site, &keys, parameters).await?;
        let report = score(site, &keys, program, rows).await?;
        print_report(what, &report, summary)?;
    }
    Ok(())
}
