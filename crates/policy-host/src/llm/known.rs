//! What is known of the LLM request of one exchange, and when. Nothing is parsed before somebody asks.

use bytes::Bytes;

use super::{Usage, estimate_prompt, model_of, with_model};

/// An answer that was worked out once.
#[derive(Debug, Clone)]
enum Asked<T> {
    NotYet,
    Known(Option<T>),
}

#[derive(Debug)]
pub(crate) struct Known {
    /// The request's body, while its hooks run.
    body: Option<Bytes>,
    /// By the hook that is running.
    renamed: Option<String>,
    model: Asked<String>,
    prompt: Asked<u64>,
    /// Of the whole exchange, once it is over.
    usage: Option<Usage>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            body: None,
            renamed: None,
            model: Asked::Known(None),
            prompt: Asked::Known(None),
            usage: None,
        }
    }
}

impl Known {
    /// The body is here, or another one in its place.
    pub(crate) fn sees(&mut self, body: Bytes) {
        self.body = Some(body);
        self.model = Asked::NotYet;
        self.prompt = Asked::NotYet;
    }

    /// A hook is over: the body that it leaves, which is `replaced` if it said so, for the model that it chose.
    pub(crate) fn after_hook(&mut self, replaced: Option<Bytes>) -> Option<Bytes> {
        let renamed = self.renamed.take();
        let Some(replaced) = replaced else {
            return renamed.and(self.body.clone());
        };
        let named = renamed.and_then(|name| with_model(&replaced, &name));
        let body = named.unwrap_or(replaced);
        self.sees(body.clone());
        Some(body)
    }

    /// A hook failed: what it changed is not wanted.
    pub(crate) fn after_fault(&mut self, body: &Bytes) {
        if self.renamed.take().is_some() {
            self.sees(body.clone());
        }
    }

    /// The body goes on its way; what later hooks may ask for is kept, if any of them can ask.
    pub(crate) fn body_is_gone(&mut self, will_be_asked: bool) {
        if will_be_asked {
            self.model();
            self.prompt();
        } else {
            *self = Self::default();
        }
        self.body = None;
    }

    pub(crate) fn model(&mut self) -> Option<&str> {
        if let Asked::NotYet = self.model {
            self.model = Asked::Known(self.body.as_deref().and_then(model_of));
        }
        match &self.model {
            Asked::Known(model) => model.as_deref(),
            Asked::NotYet => None,
        }
    }

    pub(crate) fn set_model(&mut self, name: String) -> bool {
        let Some(changed) = self.body.as_ref().and_then(|body| with_model(body, &name)) else {
            return false;
        };
        // The prompt is as long as before.
        self.body = Some(changed);
        self.model = Asked::Known(Some(name.clone()));
        self.renamed = Some(name);
        true
    }

    /// The estimate of the prompt's tokens.
    pub(crate) fn prompt(&mut self) -> Option<u64> {
        if let Asked::NotYet = self.prompt {
            self.prompt = Asked::Known(self.body.as_deref().and_then(estimate_prompt));
        }
        match self.prompt {
            Asked::Known(prompt) => prompt,
            Asked::NotYet => None,
        }
    }

    pub(crate) fn is_over(&mut self, usage: Option<Usage>) {
        self.usage = usage;
    }

    pub(crate) fn usage(&mut self) -> Option<Usage> {
        let estimate = |prompt| Usage {
            prompt,
            completion: 0,
            estimated: true,
        };
        self.usage.or_else(|| self.prompt().map(estimate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_renames_replaces_or_both_and_a_fault_undoes_it() {
        let body = Bytes::from_static(br#"{"model":"a","prompt":"12345678"}"#);
        let mut known = Known::default();
        assert!(known.model().is_none() && known.usage().is_none());
        assert!(!known.set_model("b".into()));
        known.sees(body.clone());
        assert_eq!(known.model(), Some("a"));
        assert_eq!(known.after_hook(None), None);
        assert!(known.set_model("b".into()));
        assert_eq!(known.model(), Some("b"));
        let renamed = known.after_hook(None).unwrap();
        assert_eq!(&renamed[..], br#"{"model":"b","prompt":"12345678"}"#);
        assert!(known.set_model("c".into()));
        known.after_fault(&renamed);
        assert_eq!(known.model(), Some("b"));
        assert!(known.set_model("d".into()));
        let both = known.after_hook(Some(Bytes::from_static(br#"{"model":"x","prompt":""}"#)));
        assert_eq!(&both.unwrap()[..], br#"{"model":"d","prompt":""}"#);
    }

    #[test]
    fn what_later_hooks_ask_for_outlives_the_body() {
        let body = Bytes::from_static(br#"{"model":"a","prompt":"12345678"}"#);
        let mut known = Known::default();
        known.sees(body.clone());
        known.body_is_gone(true);
        assert_eq!(known.model(), Some("a"));
        assert_eq!(
            known.usage().map(|usage| (usage.prompt, usage.estimated)),
            Some((2, true))
        );
        let said = Usage {
            prompt: 3,
            completion: 4,
            estimated: false,
        };
        known.is_over(Some(said));
        assert_eq!(known.usage(), Some(said));
        let mut unasked = Known::default();
        unasked.sees(body);
        unasked.body_is_gone(false);
        assert!(unasked.model().is_none() && unasked.usage().is_none());
    }
}
