//! The usage of a response, read while its body passes: what the upstream says in its JSON, or in the last event or line of a stream
//! that has it; else an estimate by the length of the text that was generated.

use super::json::{Json, Place, Values};
use super::{Usage, tokens_of};

/// Names under which generated text stands, whole or in pieces: in OpenAI's chat (`content`, `reasoning_content`, `refusal`, `arguments`
/// of a tool call), completions (`text`) and responses (`delta`, `text`), and in Ollama's (`content`, `response`, `thinking`).
const TEXT_NAMES: [&[u8]; 8] = [
    b"content",
    b"text",
    b"delta",
    b"response",
    b"reasoning_content",
    b"thinking",
    b"arguments",
    b"refusal",
];

/// How a response's body is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON text.
    Json,
    /// Server-sent events with a JSON text each.
    Events,
    /// A JSON text a line.
    Lines,
}

impl Format {
    /// By the media type; None for what carries no usage.
    pub fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or("").trim();
        let is = |known: &str| media.eq_ignore_ascii_case(known);
        if is("application/json") {
            Some(Self::Json)
        } else if is("text/event-stream") {
            Some(Self::Events)
        } else if is("application/x-ndjson") || is("application/jsonl") {
            Some(Self::Lines)
        } else {
            None
        }
    }
}

/// Where in a line of an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of `data:` were seen.
    Field(usize),
    Data,
    /// Another field, or a comment.
    Other,
}

/// Reads a body in pieces of any length; holds a few hundred bytes whatever comes.
pub struct UsageScanner {
    format: Format,
    json: Json,
    found: Found,
    line: Line,
    after_return: bool,
}

#[derive(Debug, Default)]
struct Found {
    prompt: Option<u64>,
    completion: Option<u64>,
    text_bytes: u64,
    /// Texts of a stream that brought some of the answer.
    pieces: u64,
    had_text: bool,
}

impl UsageScanner {
    pub fn new(format: Format) -> Self {
        Self {
            format,
            json: Json::new(),
            found: Found::default(),
            line: Line::Field(0),
            after_return: false,
        }
    }

    /// The next bytes of the body, in any division.
    pub fn read(&mut self, piece: &[u8]) {
        match self.format {
            Format::Json => self.json.read(piece, &mut self.found),
            Format::Lines => {
                for part in piece.split_inclusive(|byte| *byte == b'\n') {
                    self.json.read(part, &mut self.found);
                    if part.ends_with(b"\n") {
                        self.text_ended();
                    }
                }
            }
            Format::Events => self.read_events(piece),
        }
    }

    /// What was found so far. `prompt`: the estimate to fall back on. None if nothing is known at all.
    pub fn usage(&mut self, prompt: Option<u64>) -> Option<Usage> {
        self.text_ended();
        let found = &self.found;
        let measured = found.prompt.is_some() || found.completion.is_some();
        let completion = match found.completion {
            Some(said) => said,
            // Embeddings have a prompt and no completion.
            None if measured => 0,
            None => tokens_of(found.text_bytes).max(found.pieces),
        };
        let known = measured || completion > 0 || prompt.is_some();
        known.then(|| Usage {
            prompt: found.prompt.or(prompt).unwrap_or(0),
            completion,
            estimated: found.prompt.is_none() || !measured,
        })
    }

    fn text_ended(&mut self) {
        self.json.end(&mut self.found);
        if std::mem::take(&mut self.found.had_text) {
            self.found.pieces = self.found.pieces.saturating_add(1);
        }
    }

    //= https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    //# If the line is empty (a blank line): Dispatch the event
    fn read_events(&mut self, piece: &[u8]) {
        const DATA: &[u8] = b"data:";
        let mut rest = piece;
        while let Some(&byte) = rest.first() {
            let newline_of_pair = byte == b'\n' && std::mem::take(&mut self.after_return);
            self.after_return = byte == b'\r';
            match self.line {
                _ if newline_of_pair => {}
                Line::Field(0) if matches!(byte, b'\r' | b'\n') => self.text_ended(),
                _ if matches!(byte, b'\r' | b'\n') => self.line = Line::Field(0),
                Line::Field(seen) if DATA.get(seen) == Some(&byte) => {
                    self.line = if seen + 1 == DATA.len() {
                        Line::Data
                    } else {
                        Line::Field(seen + 1)
                    };
                }
                Line::Field(_) => self.line = Line::Other,
                Line::Data | Line::Other => {
                    let end = rest
                        .iter()
                        .position(|byte| matches!(byte, b'\r' | b'\n'))
                        .unwrap_or(rest.len());
                    if self.line == Line::Data {
                        self.json.read(&rest[..end], &mut self.found);
                    }
                    rest = &rest[end..];
                    continue;
                }
            }
            rest = &rest[1..];
        }
    }
}

impl Values for Found {
    fn number(&mut self, place: Place<'_>, value: u64) {
        let of_usage = (place.depth == 2 && place.at(1) == b"usage")
            || (place.depth == 3 && place.at(1) == b"response" && place.at(2) == b"usage");
        match place.name() {
            b"prompt_tokens" | b"input_tokens" if of_usage => self.prompt = Some(value),
            b"completion_tokens" | b"output_tokens" if of_usage => self.completion = Some(value),
            b"prompt_eval_count" if place.depth == 1 => self.prompt = Some(value),
            b"eval_count" if place.depth == 1 => self.completion = Some(value),
            _ => {}
        }
    }

    fn text(&mut self, place: Place<'_>, bytes: u64) {
        if TEXT_NAMES.contains(&place.name()) {
            self.text_bytes = self.text_bytes.saturating_add(bytes);
            self.had_text = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(format: Format, body: &str, prompt: Option<u64>) -> Option<Usage> {
        let mut whole = UsageScanner::new(format);
        whole.read(body.as_bytes());
        let whole = whole.usage(prompt);
        // In whatever pieces it comes, it says the same.
        for size in [1, 2, 3, 7, 64] {
            let mut scanner = UsageScanner::new(format);
            for piece in body.as_bytes().chunks(size) {
                scanner.read(piece);
            }
            assert_eq!(scanner.usage(prompt), whole, "pieces of {size}");
        }
        whole
    }

    fn said(prompt: u64, completion: u64) -> Option<Usage> {
        Some(Usage {
            prompt,
            completion,
            estimated: false,
        })
    }

    fn guessed(prompt: u64, completion: u64) -> Option<Usage> {
        Some(Usage {
            prompt,
            completion,
            estimated: true,
        })
    }

    #[test]
    fn json_answers_of_every_shape_say_their_usage() {
        let chat = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"{\"usage\":{\"prompt_tokens\":1}}"}}],
            "usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":7}}}"#;
        assert_eq!(usage(Format::Json, chat, Some(5)), said(19, 10));
        let responses = r#"{"object":"response","output":[{"content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":36,
            "input_tokens_details":{"cached_tokens":0},"output_tokens":87,"total_tokens":123}}"#;
        assert_eq!(usage(Format::Json, responses, None), said(36, 87));
        let embeddings = r#"{"data":[{"embedding":[0.1,-2e-3,4]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        assert_eq!(usage(Format::Json, embeddings, None), said(8, 0));
        let ollama = r#"{"model":"m","message":{"role":"assistant","content":"Hello"},"done":true,"prompt_eval_count":26,"eval_count":298}"#;
        assert_eq!(usage(Format::Json, ollama, None), said(26, 298));
    }

    #[test]
    fn the_last_event_with_usage_counts_and_earlier_nulls_do_not() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}],\"usage\":null}\r\n\r\n: ping\r\n\r\n\
            event: x\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\r\n\r\n\
            data:{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\r\n\r\ndata: [DONE]\r\n\r\n";
        assert_eq!(usage(Format::Events, stream, None), said(9, 2));
        let responses = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n\
            event: response.completed\ndata: {\"type\":\"response.completed\",\ndata: \"response\":{\"usage\":{\"input_tokens\":4,\"output_tokens\":3}}}\n\n";
        assert_eq!(usage(Format::Events, responses, None), said(4, 3));
        let ollama = "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true,\"prompt_eval_count\":3,\"eval_count\":5}\n";
        assert_eq!(usage(Format::Lines, ollama, None), said(3, 5));
    }

    #[test]
    fn without_usage_the_text_is_measured() {
        // Five bytes of text in two pieces: an escape counts as one.
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\\n\\u00e9\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"bc\"}}]}\n\n";
        assert_eq!(usage(Format::Events, stream, Some(7)), guessed(7, 2));
        let json = r#"{"choices":[{"message":{"content":"12345678"}}]}"#;
        assert_eq!(usage(Format::Json, json, None), guessed(0, 2));
        assert_eq!(usage(Format::Json, "not JSON at all", None), None);
        assert_eq!(usage(Format::Json, "", Some(3)), guessed(3, 0));
    }

    #[test]
    fn whatever_comes_is_read_without_end_or_harm() {
        let mut scanner = UsageScanner::new(Format::Json);
        for _ in 0..1000 {
            scanner
                .read(b"[[[[{\"usage\":{\"prompt_tokens\":99999999999999999999999999,\"x\":\"\\");
        }
        scanner.read(&[0xff; 100]);
        scanner.read(b"]]]]}}}}}}}}}}}}}}}}}}}}");
        assert!(scanner.usage(None).is_none_or(|usage| usage.estimated));
        assert_eq!(
            usage(
                Format::Json,
                "{\"eval_count\":99999999999999999999999",
                None
            )
            .map(|usage| usage.completion),
            Some(u64::MAX)
        );
    }

    #[test]
    fn the_format_is_the_media_type_s() {
        assert_eq!(
            Format::of("application/json; charset=utf-8"),
            Some(Format::Json)
        );
        assert_eq!(Format::of("Text/Event-Stream"), Some(Format::Events));
        assert_eq!(Format::of("application/x-ndjson"), Some(Format::Lines));
        assert_eq!(Format::of("text/html"), None);
    }
}
