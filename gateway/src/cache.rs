//! The response cache: a store around the decisions of `http-cache`.
