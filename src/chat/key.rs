//! The key of a request: which requests are the same, and which may at most be similar.
//!
//! Every field is fed to blake3 behind its length, so that no two different requests feed the same bytes (the fields
//! are prefix-free). JSON that we keep whole is fed in its canonical form ([`canonical_json`]). The request is taken apart
//! without `..`: a new field does not compile until someone decides whether it belongs to the key.

use std::borrow::Cow;
use std::sync::LazyLock;

use blake3::Hasher;
use regex::Regex;
use serde_json::{Map, Value};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::canonical_json::canonical_json;
use super::{
    ChatRequest, EndUser, Fingerprint, Image, ImageSource, JsonSchema, Message, ModelAlias, Namespace,
    OutputFormat, Owner, Part, Partition, Reasoning, Role, Sampling, SemanticKey, TenantId, Tool, ToolCall,
    ToolChoice,
};
use crate::config::Scope;

/// The version of everything in this file. A change that gives any request another key raises it; entries under an
/// older version are then never found again and expire.
pub const CANONICAL_VERSION: u32 = 3;

/// How a route keys its requests.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    pub scope: Scope,
    /// What to take out of system and developer texts before they are keyed, such as a timestamp. Never applied to
    /// what users or the model said: a pattern meant for a date in a system prompt must not make two questions equal.
    pub ignore: Vec<Regex>,
}

/// The key of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Equal for requests that may share an answer without a second look.
    pub fingerprint: Fingerprint,
    /// Who may see the answer.
    pub owner: Owner,
    /// What a similar request must have in common; `None` where only an equal one will do.
    pub semantic: Option<SemanticKey>,
}

impl SemanticKey {
    /// Returns the partition under the vectors of this embedder. Vectors of two embedders never meet, since their
    /// similarities mean nothing.
    pub fn partition(&self, embedder_version: &str) -> Partition {
        let mut feed = Feed::new(&PARTITION);
        feed.bytes(self.as_bytes());
        feed.text(embedder_version);
        Partition::from_bytes(feed.finish())
    }
}

static HEAD: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("refrain request head"));
static FINGERPRINT: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("refrain fingerprint"));
static PARTITION: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("refrain partition"));
static OWNER: LazyLock<Hasher> = LazyLock::new(|| Hasher::new_derive_key("refrain owner"));

impl KeyRules {
    /// Returns the user an answer to this request belongs to; `Err` where the scope is `user` and the caller named
    /// none, so that the answer cannot be cached.
    pub fn user_of(&self, request: &ChatRequest) -> Result<Option<EndUser>, NoUser> {
        match self.scope {
            Scope::Tenant => Ok(None),
            Scope::User => {
                let user = request.end_user.as_deref().filter(|user| !user.is_empty()).ok_or(NoUser)?;
                Ok(Some(EndUser::new(user)))
            }
        }
    }

    /// Returns the key of a request for the model under its resolved name.
    pub fn key(&self, request: &ChatRequest, model: &ModelAlias, owner: OwnerNames<'_>) -> Key {
        let last = request.last_prompt();
        let namespace = owner.namespace;
        let owner = owner.owner();

        let mut head = Feed::new(&HEAD);
        head.number(u64::from(CANONICAL_VERSION));
        head.bytes(owner.as_bytes());
        head.text(namespace.as_str());
        head.text(model.as_str());
        self.feed_request(&mut head, request, last.is_some());
        let head = head.finish();

        let mut feed = Feed::new(&FINGERPRINT);
        feed.bytes(&head);
        feed.optional(last, |feed, text| feed.text(&nfc(text.trim())));
        Key {
            fingerprint: Fingerprint::from_bytes(feed.finish()),
            owner,
            semantic: last.map(|_| SemanticKey::from_bytes(head)),
        }
    }

    /// Returns system and developer texts as they are keyed, to explain what sets two requests apart.
    pub fn keyed_instructions(&self, request: &ChatRequest) -> Vec<String> {
        let instructions = request.messages.iter().filter(|message| message.role.is_instruction());
        let texts = instructions.flat_map(|message| {
            message
                .content
                .iter()
                .filter_map(|part| Some(self.keyed_text(message.role, part.text()?, true, true)))
        });
        texts.map(|text| nfc(&text).into_owned()).collect()
    }

    /// Feeds all that shapes the answer, but the last prompt where `but_last` says so.
    fn feed_request(&self, feed: &mut Feed, request: &ChatRequest, but_last: bool) {
        let ChatRequest {
            model: _, // Keyed by its resolved name, so that a bare name and its full form share entries.
            messages,
            tools,
            tool_choice,
            parallel_tool_calls,
            output_format,
            sampling,
            limit: _, // `Entry::serves_limit` decides: an answer that fits is right under any limit.
            dialect,
            betas,
            cache_marks: _, // What a call costs, never what is said.
            unknown,
            carried: _,  // Who pays, who watches, how it is delivered: never what is said.
            end_user: _, // Part of the owner where the scope says so.
        } = request;
        let keyed = &messages[..messages.len() - usize::from(but_last)];
        feed.list(keyed, |feed, message| self.feed_message(feed, message));
        feed.list(tools, feed_tool);
        feed.optional(tool_choice.as_ref(), feed_tool_choice);
        feed.optional(*parallel_tool_calls, |feed, yes| feed.number(u64::from(yes)));
        feed_output_format(feed, output_format);
        feed_sampling(feed, sampling);
        feed.list(betas, |feed, beta| feed.text(beta));
        // The same unknown field may mean two things in two dialects.
        if request.has_foreign() {
            feed.text(dialect.name());
        }
        feed.object(unknown);
    }

    fn feed_message(&self, feed: &mut Feed, message: &Message) {
        let Message { role, content, name, tool_call_id, is_error, unknown } = message;
        feed.text(role.name());
        feed.number(content.len() as u64);
        for (at, part) in content.iter().enumerate() {
            if let Part::Text(text) = part {
                feed.number(0);
                let text = self.keyed_text(*role, text, at == 0, at + 1 == content.len());
                feed.text(&nfc(&text));
            } else {
                feed_part(feed, part);
            }
        }
        feed.optional(name.as_deref(), Feed::text);
        feed.optional(tool_call_id.as_deref(), Feed::text);
        feed.number(u64::from(*is_error));
        feed.object(unknown);
    }

    /// Returns the text as it is keyed. White space at the ends of an instruction or a question says nothing; at the
    /// end of what the assistant is made to have said, or a tool returned, it may.
    fn keyed_text<'text>(
        &self,
        role: Role,
        text: &'text str,
        is_first: bool,
        is_last: bool,
    ) -> Cow<'text, str> {
        let mut text = Cow::Borrowed(text);
        match role {
            Role::Assistant | Role::Tool => return text,
            Role::User => {}
            Role::System | Role::Developer => {
                for pattern in &self.ignore {
                    if let Cow::Owned(without) = pattern.replace_all(&text, "") {
                        text = Cow::Owned(without);
                    }
                }
            }
        }
        let trim = |text: &'text str| {
            let text = if is_first { text.trim_start() } else { text };
            if is_last { text.trim_end() } else { text }
        };
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
            Cow::Owned(text) => {
                let text = if is_first { text.trim_start().to_owned() } else { text };
                Cow::Owned(if is_last { text.trim_end().to_owned() } else { text })
            }
        }
    }
}

/// Whose request it is, and in which part of that cache.
#[derive(Clone, Copy, Debug)]
pub struct OwnerNames<'a> {
    pub tenant: &'a TenantId,
    /// Named only where the scope is `user`.
    pub user: Option<&'a EndUser>,
    pub namespace: &'a Namespace,
}

impl OwnerNames<'_> {
    /// Returns who may see the answer; the namespace only divides what is theirs.
    pub fn owner(&self) -> Owner {
        let mut feed = Feed::new(&OWNER);
        feed.text(self.tenant.as_str());
        feed.optional(self.user, |feed, user| feed.text(user.as_str()));
        Owner::from_bytes(feed.finish())
    }
}

/// The scope is `user`, and the request names no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoUser;

/// Feeds a part that is no plain text, whose white space counts.
fn feed_part(feed: &mut Feed, part: &Part) {
    match part {
        Part::Text(text) => {
            feed.number(0);
            feed.text(&nfc(text));
        }
        Part::Other(fields) => {
            feed.number(1);
            feed.object(fields);
        }
        Part::Cited { text, citations } => {
            feed.number(2);
            feed.text(&nfc(text));
            feed.list(citations, Feed::json);
        }
        Part::Image(Image { source, detail }) => {
            feed.number(3);
            match source {
                ImageSource::Url(url) => {
                    feed.number(0);
                    feed.text(url);
                }
                ImageSource::Data { media_type, base64 } => {
                    feed.number(1);
                    feed.text(media_type);
                    feed.text(base64);
                }
            }
            feed.optional(detail.as_deref(), Feed::text);
        }
        Part::Reasoning(Reasoning { text, signature }) => {
            feed.number(4);
            feed.text(text);
            feed.optional(signature.as_deref(), Feed::text);
        }
        Part::Refusal(words) => {
            feed.number(5);
            feed.text(words);
        }
        Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
            feed.number(6);
            feed.text(id);
            feed.text(name);
            feed.text(arguments);
            feed.optional(signature.as_deref(), Feed::text);
        }
    }
}

fn feed_tool(feed: &mut Feed, tool: &Tool) {
    match tool {
        Tool::Function { name, description, parameters, strict } => {
            feed.number(0);
            feed.text(name);
            feed.optional(description.as_deref(), Feed::text);
            feed.optional(parameters.as_ref(), Feed::json);
            feed.optional(*strict, |feed, yes| feed.number(u64::from(yes)));
        }
        Tool::Other(value) => {
            feed.number(1);
            feed.json(value);
        }
    }
}

fn feed_tool_choice(feed: &mut Feed, choice: &ToolChoice) {
    match choice {
        ToolChoice::Auto => feed.number(0),
        ToolChoice::None => feed.number(1),
        ToolChoice::Required => feed.number(2),
        ToolChoice::Function(name) => {
            feed.number(3);
            feed.text(name);
        }
        ToolChoice::Other(value) => {
            feed.number(4);
            feed.json(value);
        }
    }
}

fn feed_output_format(feed: &mut Feed, format: &OutputFormat) {
    match format {
        OutputFormat::Text => feed.number(0),
        OutputFormat::JsonObject => feed.number(1),
        OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict }) => {
            feed.number(2);
            feed.optional(name.as_deref(), Feed::text);
            feed.optional(description.as_deref(), Feed::text);
            feed.optional(schema.as_ref(), Feed::json);
            feed.optional(*strict, |feed, yes| feed.number(u64::from(yes)));
        }
        OutputFormat::Other(value) => {
            feed.number(3);
            feed.json(value);
        }
    }
}

fn feed_sampling(feed: &mut Feed, sampling: &Sampling) {
    let Sampling {
        temperature,
        top_p,
        top_k,
        presence_penalty,
        frequency_penalty,
        seed,
        stop,
        n,
        logit_bias,
        logprobs,
        reasoning_effort,
        verbosity,
    } = sampling;
    feed.optional(*top_k, |feed, k| feed.number(u64::from(k)));
    for number in [temperature, top_p, presence_penalty, frequency_penalty] {
        // Adding zero turns -0.0 into 0.0, which JSON writers disagree about.
        feed.optional(*number, |feed, number| feed.number((number + 0.0).to_bits()));
    }
    feed.optional(*seed, |feed, seed| feed.number(seed.cast_unsigned()));
    feed.list(stop, |feed, stop| feed.text(stop));
    feed.optional(*n, |feed, n| feed.number(u64::from(n)));
    feed.optional(logit_bias.as_ref(), Feed::json);
    feed.optional(*logprobs, |feed, n| feed.number(u64::from(n)));
    feed.optional(reasoning_effort.as_deref(), Feed::text);
    feed.optional(verbosity.as_deref(), Feed::text);
}

/// Returns the text in NFC. Never NFKC, which would make different texts equal ("x²" and "x2").
fn nfc(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(text.nfc().collect()),
    }
}

/// A hasher that takes fields, each behind its length or count.
struct Feed(Hasher);

impl Feed {
    fn new(domain: &LazyLock<Hasher>) -> Self {
        Self(Hasher::clone(domain))
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, feed: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            feed(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], mut feed: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            feed(self, item);
        }
    }

    /// Feeds JSON in a form in which key order and number spelling do not matter.
    fn json(&mut self, value: &Value) {
        self.bytes(&canonical_json(value));
    }

    fn object(&mut self, fields: &Map<String, Value>) {
        self.number(fields.len() as u64);
        let mut sorted: Vec<_> = fields.iter().collect();
        sorted.sort_unstable_by_key(|(field, _)| *field);
        for (field, value) in sorted {
            self.text(field);
            self.json(value);
        }
    }

    fn finish(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::any_part;
    use crate::chat::{Dialect, LimitSpelling, OutputLimit};
    use proptest::prelude::*;
    use serde_json::json;

    fn key_of(rules: &KeyRules, request: &ChatRequest, [tenant, namespace, model]: [&str; 3]) -> Key {
        let (tenant, namespace) = (TenantId::new(tenant), Namespace::new(namespace));
        let user = rules.user_of(request).unwrap();
        let owner = OwnerNames { tenant: &tenant, user: user.as_ref(), namespace: &namespace };
        rules.key(request, &ModelAlias::new(model), owner)
    }

    fn key(request: &ChatRequest) -> Key {
        key_of(&KeyRules::default(), request, ["t", "n", "m"])
    }

    /// Few and short texts, so that two that are put together differently often spell the same.
    fn text() -> impl Strategy<Value = String> {
        "[ab]{0,2}"
    }

    fn maybe<T: Clone + std::fmt::Debug + 'static>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Option<T>> {
        prop::option::weighted(0.3, value)
    }

    fn fields() -> impl Strategy<Value = Map<String, Value>> {
        // The large ones are the same as doubles.
        let large = (1_u64 << 53)..(1 << 53) + 3;
        let value = prop_oneof![
            text().prop_map(Value::from),
            (0..2_u64).prop_map(Value::from),
            large.prop_map(|number| json!([number])),
            Just(json!({"a": []}))
        ];
        prop::collection::btree_map("[ab]", value, 0..2).prop_map(|fields| fields.into_iter().collect())
    }

    fn message() -> impl Strategy<Value = Message> {
        let role = prop::sample::select(vec![
            Role::System,
            Role::Developer,
            Role::User,
            Role::Assistant,
            Role::Tool,
        ]);
        let content = prop::collection::vec(any_part(), 1..3);
        (role, content, maybe(text()), maybe(text()), any::<bool>(), fields()).prop_map(
            |(role, content, name, tool_call_id, is_error, unknown)| Message {
                role,
                content,
                name,
                tool_call_id,
                is_error,
                unknown,
            },
        )
    }

    fn tool() -> impl Strategy<Value = Tool> {
        let schema = fields().prop_map(Value::Object);
        prop_oneof![
            (text(), maybe(text()), maybe(schema), maybe(any::<bool>())).prop_map(
                |(name, description, parameters, strict)| Tool::Function {
                    name,
                    description,
                    parameters,
                    strict
                }
            ),
            fields().prop_map(|fields| Tool::Other(Value::Object(fields))),
        ]
    }

    fn tool_choice() -> impl Strategy<Value = ToolChoice> {
        prop_oneof![
            Just(ToolChoice::Auto),
            Just(ToolChoice::None),
            Just(ToolChoice::Required),
            text().prop_map(ToolChoice::Function),
            text().prop_map(|text| ToolChoice::Other(Value::from(text))),
        ]
    }

    fn output_format() -> impl Strategy<Value = OutputFormat> {
        prop_oneof![
            4 => Just(OutputFormat::Text),
            1 => Just(OutputFormat::JsonObject),
            1 => (maybe(text()), maybe(text()), maybe(fields().prop_map(Value::Object)), maybe(any::<bool>()))
                .prop_map(|(name, description, schema, strict)| {
                    OutputFormat::JsonSchema(JsonSchema { name, description, schema, strict })
                }),
            1 => fields().prop_map(|fields| OutputFormat::Other(Value::Object(fields))),
        ]
    }

    fn sampling() -> impl Strategy<Value = Sampling> {
        let number = || maybe(prop::sample::select(vec![0.0, 0.5, 1.0]));
        let count = || maybe(0..3_u32);
        (
            (number(), number(), number(), number(), maybe(0..2_i64)),
            (
                prop::collection::vec(text(), 0..3),
                [count(), count(), count()],
                maybe(fields().prop_map(Value::Object)),
            ),
            (maybe(text()), maybe(text())),
        )
            .prop_map(
                |(numbers, (stop, [n, logprobs, top_k], logit_bias), (reasoning_effort, verbosity))| {
                    let (temperature, top_p, presence_penalty, frequency_penalty, seed) = numbers;
                    Sampling {
                        temperature,
                        top_p,
                        top_k,
                        presence_penalty,
                        frequency_penalty,
                        seed,
                        stop,
                        n,
                        logit_bias,
                        logprobs,
                        reasoning_effort,
                        verbosity,
                    }
                },
            )
    }

    /// Requests in all that shapes an answer.
    fn request() -> impl Strategy<Value = ChatRequest> {
        let tools = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(tool(), 1..3)];
        (
            prop::collection::vec(message(), 1..4),
            (tools, maybe(tool_choice()), maybe(any::<bool>())),
            (output_format(), sampling(), fields(), prop::collection::vec(text(), 0..2)),
        )
            .prop_map(
                |(
                    messages,
                    (tools, tool_choice, parallel_tool_calls),
                    (output_format, sampling, unknown, betas),
                )| {
                    ChatRequest {
                        messages,
                        tools,
                        tool_choice,
                        parallel_tool_calls,
                        output_format,
                        sampling,
                        betas,
                        unknown,
                        ..ChatRequest::from_prompt("")
                    }
                },
            )
    }

    /// Puts one field of another request into this one.
    fn one_field_of(one: &ChatRequest, other: ChatRequest, field: usize) -> ChatRequest {
        let one = one.clone();
        match field {
            0 => ChatRequest { messages: other.messages, ..one },
            1 => ChatRequest { tools: other.tools, ..one },
            2 => ChatRequest { tool_choice: other.tool_choice, ..one },
            3 => ChatRequest { parallel_tool_calls: other.parallel_tool_calls, ..one },
            4 => ChatRequest { output_format: other.output_format, ..one },
            5 => ChatRequest { sampling: other.sampling, ..one },
            6 => ChatRequest { betas: other.betas, ..one },
            _ => ChatRequest { unknown: other.unknown, ..one },
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// Fields are prefix-free, and each of them counts: whatever differs gives another fingerprint.
        #[test]
        fn two_requests_share_a_fingerprint_only_if_they_are_the_same(
            (one, other) in (request(), request()),
            field in 0..8_usize,
        ) {
            let near = one_field_of(&one, other.clone(), field);
            prop_assert_eq!(key(&one).fingerprint == key(&near).fingerprint, one == near);
            prop_assert_eq!(key(&one).fingerprint == key(&other).fingerprint, one == other);
        }

        #[test]
        fn what_only_delivers_bills_or_observes_is_not_keyed(
            mut request in request(),
            (name, user) in (maybe(text()), maybe(text())),
            (carried, tokens) in (fields(), maybe(1..9_u32)),
        ) {
            let plain = key(&request);
            request.model = name;
            request.end_user = user;
            request.carried = carried;
            request.limit = tokens.map(|tokens| OutputLimit { tokens, spelling: LimitSpelling::MaxTokens });
            prop_assert_eq!(plain, key(&request));
        }

        #[test]
        fn white_space_at_the_ends_of_instruction_and_question_is_not_keyed(
            texts in prop::collection::vec("[ab]{1,2}", 2),
            spaces in prop::collection::vec("[ \t\n]{0,3}", 4),
        ) {
            let asked = |system: &str, user: &str| {
                let messages = vec![Message::text(Role::System, system), Message::text(Role::User, user)];
                key(&ChatRequest { messages, ..ChatRequest::from_prompt("") })
            };
            let spaced = |at: usize| format!("{}{}{}", spaces[2 * at], texts[at], spaces[2 * at + 1]);
            prop_assert_eq!(asked(&texts[0], &texts[1]), asked(&spaced(0), &spaced(1)));
        }

        #[test]
        fn tenants_namespaces_and_models_never_share(
            request in request(),
            one in prop::array::uniform3("[ab]{1,2}"),
            other in prop::array::uniform3("[ab]{1,2}"),
        ) {
            let of = |names: &[String; 3]| {
                key_of(&KeyRules::default(), &request, [names[0].as_str(), names[1].as_str(), names[2].as_str()])
            };
            let (a, b) = (of(&one), of(&other));
            prop_assert_eq!(a.fingerprint == b.fingerprint, one == other);
            prop_assert_eq!(a.owner == b.owner, one[0] == other[0]);
            if a.semantic.is_some() {
                prop_assert_eq!(a.semantic == b.semantic, one == other);
            }
        }

        #[test]
        fn with_scope_user_two_users_never_share(mut request in request(), users in prop::array::uniform2("[ab]{1,2}")) {
            let rules = KeyRules { scope: Scope::User, ..KeyRules::default() };
            let mut of = |user: &str| {
                request.end_user = Some(user.to_owned());
                key_of(&rules, &request, ["t", "n", "m"])
            };
            let (a, b) = (of(&users[0]), of(&users[1]));
            prop_assert_eq!(a.fingerprint == b.fingerprint, users[0] == users[1]);
            prop_assert_eq!(a.owner == b.owner, users[0] == users[1]);
        }

        /// The last question is free to differ and nothing else is.
        #[test]
        fn only_the_last_question_is_outside_the_partition(
            (mut one, mut other) in (request(), request()),
            (asked, stored) in (text(), text()),
        ) {
            one.messages.push(Message::text(Role::User, asked));
            other.messages.push(Message::text(Role::User, stored));
            let but_last = |request: &ChatRequest| {
                let mut request = request.clone();
                request.messages.pop();
                request
            };
            let (a, b) = (key(&one).semantic.unwrap(), key(&other).semantic.unwrap());
            prop_assert_eq!(a == b, but_last(&one) == but_last(&other));
        }
    }

    /// Any JSON, nested, its numbers whole, halves and large.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(|n| json!(f64::from(n) / 2.0)),
            any::<i64>().prop_map(Value::from),
            "[ab\\u{e9}\"\\\\]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\u{e9}\u{1f980}]{0,2}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// The same JSON with the fields of every object the other way round.
    fn turned(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(turned).collect(),
            Value::Object(fields) => Value::Object(
                fields.iter().rev().map(|(field, value)| (field.clone(), turned(value))).collect(),
            ),
            plain => plain.clone(),
        }
    }

    /// The same JSON with its numbers as exact text, however they were spelled.
    #[expect(clippy::cast_possible_truncation, reason = "the doubles here are small")]
    fn exact(value: &Value) -> Value {
        match value {
            Value::Number(number) => match (number.as_i128(), number.as_f64()) {
                (Some(whole), _) => json!({"number": whole.to_string()}),
                (None, Some(double)) if double.fract() == 0.0 => {
                    json!({"number": (double as i128).to_string()})
                }
                (None, double) => json!({"number": double.map(|double| double.to_string())}),
            },
            Value::Array(items) => items.iter().map(exact).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(field, value)| (field.clone(), exact(value))).collect())
            }
            plain => plain.clone(),
        }
    }

    #[test]
    fn integers_that_are_the_same_double_are_not_the_same() {
        let with = |seed: &str| {
            let unknown = serde_json::from_str(&format!(r#"{{"a": [{seed}]}}"#)).unwrap();
            key(&ChatRequest { unknown, ..ChatRequest::from_prompt("q") })
        };
        let alike = ["9007199254740992", "9007199254740993", "-9007199254740993", r#""9007199254740993""#];
        for (at, one) in alike.iter().enumerate() {
            for (other_at, other) in alike.iter().enumerate() {
                assert_eq!(with(one) == with(other), at == other_at, "{one} {other}");
            }
        }
        assert_ne!(with("18446744073709551614"), with("18446744073709551615"));
    }

    proptest! {
        /// What is the same JSON has one form, and what is not has another.
        #[test]
        fn json_is_keyed_by_what_it_says(one in any_value(), other in any_value()) {
            let of = |value: &Value| {
                let unknown = Map::from_iter([("a".to_owned(), value.clone())]);
                key(&ChatRequest { unknown, ..ChatRequest::from_prompt("q") }).fingerprint
            };
            prop_assert_eq!(of(&one), of(&turned(&one)));
            let read_again: Value = serde_json::from_str(&serde_json::to_string_pretty(&one).unwrap()).unwrap();
            prop_assert_eq!(of(&one), of(&read_again));
            prop_assert_eq!(of(&one) == of(&other), exact(&one) == exact(&other));
        }
    }

    #[test]
    fn the_order_of_keys_and_the_spelling_of_numbers_do_not_matter() {
        let with = |json: &str| {
            let unknown = serde_json::from_str(json).unwrap();
            key(&ChatRequest { unknown, ..ChatRequest::from_prompt("q") })
        };
        let plain = with(r#"{"a": {"x": 1, "y": [10]}, "b": 0.5}"#);
        assert_eq!(plain, with(r#"{ "b":5e-1,"a":{"y":[1e1], "x":1.0}}"#));
        assert_ne!(plain, with(r#"{"a": {"x": 1, "y": [10]}, "b": 0.25}"#));
    }

    #[test]
    fn texts_are_equal_in_nfc_and_never_in_nfkc() {
        let prompt = |text: &str| key(&ChatRequest::from_prompt(text)).fingerprint;
        assert_eq!(prompt("caf\u{e9}"), prompt("cafe\u{301}"));
        for (one, other) in [("x²", "x2"), ("ﬁne", "fine"), ("Ａ", "A"), ("a b", "a\u{a0}b"), ("a", "A")]
        {
            assert_ne!(prompt(one), prompt(other), "{one} {other}");
        }
    }

    #[test]
    fn the_dialect_counts_only_for_fields_that_we_do_not_know() {
        let of = |dialect, unknown: Value| {
            let unknown = unknown.as_object().unwrap().clone();
            key(&ChatRequest { dialect, unknown, ..ChatRequest::from_prompt("q") })
        };
        assert_eq!(of(Dialect::Native, json!({})), of(Dialect::OpenAi, json!({})));
        assert_ne!(of(Dialect::Native, json!({"a": 1})), of(Dialect::OpenAi, json!({"a": 1})));
        let with_part = |dialect| {
            let mut request = ChatRequest { dialect, ..ChatRequest::from_prompt("q") };
            request.messages[0].content.push(Part::Other(Map::new()));
            key(&request)
        };
        assert_ne!(with_part(Dialect::Anthropic), with_part(Dialect::OpenAi));
    }

    #[test]
    fn patterns_are_taken_out_of_instructions_and_never_out_of_questions() {
        let rules = KeyRules { ignore: vec![Regex::new(r"\d{4}-\d\d-\d\d").unwrap()], ..KeyRules::default() };
        let of = |system: &str, user: &str| {
            let messages = vec![Message::text(Role::System, system), Message::text(Role::User, user)];
            key_of(&rules, &ChatRequest { messages, ..ChatRequest::from_prompt("") }, ["t", "n", "m"])
        };
        assert_eq!(of("It is 2026-01-02.", "q"), of("It is 2027-03-04.", "q"));
        assert_ne!(of("s", "on 2026-01-02").fingerprint, of("s", "on 2027-03-04").fingerprint);
    }

    #[test]
    fn with_scope_user_a_request_without_one_has_no_owner() {
        let rules = KeyRules { scope: Scope::User, ..KeyRules::default() };
        let mut request = ChatRequest::from_prompt("q");
        assert_eq!(rules.user_of(&request), Err(NoUser));
        request.end_user = Some(String::new());
        assert_eq!(rules.user_of(&request), Err(NoUser));
    }
}
