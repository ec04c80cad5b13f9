//! Chat Completions as Azure speaks them.

use serde_json::{Value, json};

use super::post;
use crate::support::openai::{API_VERSION, Door};
use crate::support::reply::Reply;
use crate::support::upstream::{KEY, Upstream};

const DEPLOYMENT: Door = Door::AzureDeployment("birds");

fn path() -> String {
    format!("/openai/deployments/birds/chat/completions?api-version={API_VERSION}")
}

fn body() -> Value {
    json!({"messages": [{"role": "user", "content": "Who?"}]})
}

#[tokio::test]
async fn a_deployment_is_found_by_its_path_its_version_and_the_key() {
    let upstream = Upstream::azure(DEPLOYMENT).await;
    let answer = post(&upstream, &path(), &[("api-key", KEY)], &body()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(upstream.heard()[0].model(), "birds");
    let bearer = format!("Bearer {KEY}");
    let wrong = [
        ("/openai/deployments/fish/chat/completions?api-version=2024-10-21", "api-key", KEY, 404),
        ("/openai/deployments/birds/chat/completions", "api-key", KEY, 404),
        (&path(), "authorization", &bearer, 401),
        (&path(), "api-key", "other", 401),
    ];
    for (path, name, value, status) in wrong {
        let answer = post(&upstream, path, &[(name, value)], &body()).await;
        assert_eq!(answer.status, status, "{path} {name}");
        assert_eq!(answer.json()["error"]["code"], status.to_string());
    }
    assert_eq!(upstream.forgive().len(), 4);
}

#[tokio::test]
async fn the_newer_door_takes_the_model_from_the_body_and_either_form_of_the_key() {
    let upstream = Upstream::azure(Door::AzureV1).await;
    let mut body = body();
    body["model"] = json!("birds");
    let bearer = format!("Bearer {KEY}");
    for (name, value) in [("api-key", KEY), ("authorization", &bearer)] {
        let answer = post(&upstream, "/openai/v1/chat/completions", &[(name, value)], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert!(upstream.base_url().ends_with("/openai/v1"));
}

#[tokio::test]
async fn a_stream_begins_with_what_the_filter_found_in_the_prompt() {
    let upstream = Upstream::azure(DEPLOYMENT).await;
    upstream.always(Reply::text("An owl."));
    let mut body = body();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = post(&upstream, &path(), &[("api-key", KEY)], &body).await.events();
    assert_eq!(events[0].1["choices"], json!([]));
    assert_eq!(events[0].1["prompt_filter_results"][0]["prompt_index"], 0);
    assert!(events[1].1["choices"][0]["content_filter_results"].is_object());
}

#[tokio::test]
async fn a_filtered_prompt_is_a_bad_request_that_says_so() {
    let upstream = Upstream::azure(DEPLOYMENT).await;
    upstream.always(Reply::filtered_prompt());
    let answer = post(&upstream, &path(), &[("api-key", KEY)], &body()).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["code"]), (400, &json!("content_filter")));
    assert_eq!(error["innererror"]["code"], "ResponsibleAIPolicyViolation");
}
