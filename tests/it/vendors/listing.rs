//! `GET /v1/models`, as the SDKs of both families read it.

use serde_json::json;

use super::cast::Cast;

#[tokio::test]
async fn the_list_of_models_has_what_both_families_of_sdks_read() {
    let route = "[[routes]]\nmodel = \"fast\"\nchain = [\"fake/parrot\"]";
    let cast = Cast::with_first(route, "models = [\"parrot\"]").await;
    let list = cast.app.get("/v1/models").await.json();
    let models = list["data"].as_array().unwrap();
    let ids: Vec<_> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["fast", "fake/parrot", "classic/*", "newer/*", "claude/*", "google/*"]);
    // OpenAI's list and models.
    assert_eq!(list["object"], "list");
    for model in models {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_i64() && model["owned_by"].is_string(), "{model}");
    }
    // Anthropic's page and models; the page is the last one.
    let ends = [json!("fast"), json!("google/*")];
    assert_eq!([&list["first_id"], &list["last_id"]], [&ends[0], &ends[1]]);
    assert_eq!(list["has_more"], false);
    for model in models {
        assert_eq!((&model["type"], &model["display_name"]), (&json!("model"), &model["id"]));
        let date = model["created_at"].as_str().unwrap();
        assert!(date.len() == 20 && date.ends_with('Z') && date.as_bytes()[10] == b'T', "{date}");
    }
    assert_eq!(cast.calls(), 0);
}
