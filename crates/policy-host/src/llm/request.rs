//! The request: which model it names, the same request with another, and about how many tokens its prompt has.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::tokens_of;

/// A model's name: longer ones are not anybody's.
const MAX_MODEL_BYTES: usize = 256;
/// Where the prompt stands: OpenAI's chat (`messages`, `tools`), completions and Ollama's generate (`prompt`, `suffix`, `system`),
/// responses and embeddings (`input`, `instructions`).
const PROMPT_NAMES: [&str; 7] = [
    "messages",
    "prompt",
    "input",
    "system",
    "instructions",
    "suffix",
    "tools",
];
/// What stands within a prompt and is no text: pictures and files, by reference or in base64.
const DATA_NAMES: [&str; 7] = [
    "image_url",
    "images",
    "url",
    "file_data",
    "input_audio",
    "data",
    "encrypted_content",
];

#[derive(Deserialize)]
struct Named<'b> {
    #[serde(borrow)]
    model: &'b RawValue,
}

/// The text of the top-level member `model`, with its quotes, where it stands in `body`. None as well if there are two.
fn member(body: &[u8]) -> Option<&RawValue> {
    // serde would take a list for the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice::<Named<'_>>(body)
        .ok()
        .map(|named| named.model)
}

/// The model that the request names.
pub fn model_of(body: &[u8]) -> Option<String> {
    let name: String = serde_json::from_str(member(body)?.get()).ok()?;
    (name.len() <= MAX_MODEL_BYTES).then_some(name)
}

/// The same request for another model; every byte but the name's stays as it is.
pub fn with_model(body: &[u8], name: &str) -> Option<Bytes> {
    let old = member(body)?.get();
    if name.is_empty() || name.len() > MAX_MODEL_BYTES || !old.starts_with('"') {
        return None;
    }
    // The value is a part of `body`, so that the distance of the two is where it begins.
    let begin = (old.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let end = begin.checked_add(old.len())?;
    let quoted = serde_json::to_vec(name).ok()?;
    Some(
        [body.get(..begin)?, &quoted, body.get(end..)?]
            .concat()
            .into(),
    )
}

/// About how many tokens the prompt has: a quarter of the bytes of its texts, rounded up, and one for each number (a prompt may come
/// as token numbers). None if the body is not JSON, or has no prompt.
pub fn estimate_prompt(body: &[u8]) -> Option<u64> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut prompt = Prompt::default();
    json.deserialize_map(Members(&mut prompt)).ok()?;
    prompt
        .found
        .then(|| tokens_of(prompt.text_bytes).saturating_add(prompt.numbers))
}

#[derive(Default)]
struct Prompt {
    found: bool,
    text_bytes: u64,
    numbers: u64,
}

/// The members of the request.
struct Members<'p>(&'p mut Prompt);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<std::borrow::Cow<'_, str>>()? {
            if PROMPT_NAMES.contains(&&*name) {
                self.0.found = true;
                members.next_value_seed(Count(self.0))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Any value within a prompt. The depth is bounded by serde_json's own limit.
struct Count<'p>(&'p mut Prompt);

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.text_bytes = self.0.text_bytes.saturating_add(text.len() as u64);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.0.numbers = self.0.numbers.saturating_add(1);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Count(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<std::borrow::Cow<'_, str>>()? {
            if DATA_NAMES.contains(&&*name) {
                members.next_value::<IgnoredAny>()?;
            } else {
                members.next_value_seed(Count(self.0))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_top_level_member_and_no_other() {
        let check = |body: &str, model: Option<&str>| {
            assert_eq!(model_of(body.as_bytes()).as_deref(), model, "{body}");
        };
        check(
            r#"{"messages":[{"model":"inner"}],"model":"gpt-x"}"#,
            Some("gpt-x"),
        );
        check(r#"{"model":"a\"b"}"#, Some("a\"b"));
        check(r#"{"m\u006fdel":"escaped"}"#, Some("escaped"));
        check(r#"{"model":"a","model":"b"}"#, None);
        check(r#"{"model":7}"#, None);
        check(r#"{"messages":[]}"#, None);
        check(r#"{"model":"a"} x"#, None);
        check(r#"["model"]"#, None);
        check("", None);
        check(&format!(r#"{{"model":"{}"}}"#, "m".repeat(257)), None);
    }

    #[test]
    fn only_the_name_changes() {
        let body = " {\"z\" : [1,  2],\n \"model\" :\t\"old\" ,\"messages\":[ ]}\n";
        let changed = with_model(body.as_bytes(), "new \"x\"").unwrap();
        assert_eq!(
            &changed[..],
            body.replace("\"old\"", r#""new \"x\"""#).as_bytes()
        );
        assert_eq!(model_of(&changed).as_deref(), Some("new \"x\""));
        for (body, name) in [
            ("{}", "m"),
            (r#"{"model":1}"#, "m"),
            (r#"{"model":"a"}"#, ""),
            ("nothing", "m"),
        ] {
            assert!(with_model(body.as_bytes(), name).is_none(), "{body}");
        }
    }

    #[test]
    fn a_prompt_is_a_quarter_of_its_text() {
        let check = |body: &str, tokens: Option<u64>| {
            assert_eq!(estimate_prompt(body.as_bytes()), tokens, "{body}");
        };
        // "user" and eight bytes of content.
        check(
            r#"{"model":"a long name that does not count","messages":[{"role":"user","content":"12345678"}]}"#,
            Some(3),
        );
        check(
            r#"{"messages":[{"content":[{"text":"1234"},{"image_url":{"url":"data:AAAAAAAAAAAAAAAA"}}]}]}"#,
            Some(1),
        );
        check(r#"{"prompt":"12345"}"#, Some(2));
        check(r#"{"input":[[1,2,3],[4]]}"#, Some(4));
        check(
            r#"{"input":["abcd","efgh"],"instructions":"ijkl"}"#,
            Some(3),
        );
        check(r#"{"model":"m"}"#, None);
        check(r#"{"messages":"#, None);
        check("[]", None);
        check(
            &format!(r#"{{"prompt":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000)),
            None,
        );
    }
}
