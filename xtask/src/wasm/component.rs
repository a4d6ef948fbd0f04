//! Wraps a core module as a component. The section `component-type`, which the SDK put into the module, says which world it is.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use wit_component::ComponentEncoder;

/// Wraps `module` as `component`, if that is older or missing, and returns the component's size.
pub fn wrap_if_newer(module: &Path, component: &Path) -> Result<u64, String> {
    if !is_newer(module, component) {
        return size(component);
    }
    let core =
        fs::read(module).map_err(|error| format!("cannot read {}: {error}", module.display()))?;
    let bytes =
        wrap(&core).map_err(|error| format!("{} is no policy: {error}", module.display()))?;
    // written beside it and renamed: a gateway that watches the file never sees half of it
    let unfinished = component.with_extension("wasm.part");
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, component))
        .map_err(|error| format!("cannot write {}: {error}", component.display()))?;
    size(component)
}

fn wrap(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder.module(core).map_err(|error| format!("{error:#}"))?;
    encoder.validate(true);
    encoder.encode().map_err(|error| format!("{error:#}"))
}

fn size(path: &Path) -> Result<u64, String> {
    let metadata =
        fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(metadata.len())
}

fn is_newer(source: &Path, result: &Path) -> bool {
    match (modified(source), modified(result)) {
        (Some(source), Some(result)) => source > result,
        _ => true,
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn what_is_no_wasm_is_refused() {
        assert!(wrap(b"not wasm").is_err());
        assert!(wrap(b"").is_err());
    }
}
