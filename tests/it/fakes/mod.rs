//! The fake upstreams themselves: what they refuse, and whether they speak as their vendors do.

mod anthropic;
mod azure;
mod gemini;
mod openai;

use serde_json::Value;

use crate::support::upstream::{Fake, Vendor};

/// What a fake answered.
struct Answer {
    status: u16,
    /// All that came, and whether the connection broke before its end.
    text: String,
    broke: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Returns the name and the data of each event; those that are no JSON are null.
    fn events(&self) -> Vec<(String, Value)> {
        let text = self.text.replace("\r\n", "\n");
        let events = text.split("\n\n").filter(|event| !event.is_empty());
        let field = |event: &str, name: &str| {
            event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap_or_default()
        };
        let parsed = |event: &str| serde_json::from_str(&field(event, "data: ")).unwrap_or_default();
        events.map(|event| (field(event, "event: "), parsed(event))).collect()
    }
}

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// Posts to a path after the address, as a careful client would.
async fn post<V: Vendor>(fake: &Fake<V>, path: &str, headers: Headers<'_>, body: &Value) -> Answer {
    // A second installation is refused, and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = fake.base_url().splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let accept = if body["stream"] == true { "text/event-stream" } else { "application/json" };
    let mut request = client.post(format!("{address}{path}")).header("accept", accept);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.body(body.to_string()).send().await.unwrap();
    let (mut seen, mut broke) = (Vec::new(), false);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => {
                broke = true;
                break;
            }
        }
    }
    Answer { status: response.status().as_u16(), text: String::from_utf8(seen).unwrap(), broke }
}

/// Changes a body in one place, named as in `/messages/0/role`; `null` takes the field away.
fn changed(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match (parent, value) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(name)),
        (Value::Object(fields), value) => drop(fields.insert(name.to_owned(), value)),
        (Value::Array(values), value) => values[name.parse::<usize>().unwrap()] = value,
        (other, _) => panic!("nothing in {other} has a name"),
    }
    body
}
