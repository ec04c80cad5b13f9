//! Routes that answer equal requests only: all of them written at once, found again after a restart.

use refrain::store::{ExactReason, ExactRoute};

use super::{NOW, Place, on_both};

on_both! {
    exact_routes_are_as_they_were_after_a_restart
}

fn exact(route: &str, reason: ExactReason) -> ExactRoute {
    ExactRoute { route: route.into(), since: NOW, reason, checked: 40, different: 12 }
}

async fn exact_routes_are_as_they_were_after_a_restart(place: Place) {
    let store = place.open().await;
    assert_eq!(store.exact_routes().await.unwrap(), []);
    let (support, other) = (exact("support", ExactReason::Checks), exact("other", ExactReason::Person));
    store.put_exact_routes(vec![support.clone(), other.clone()]).await.unwrap();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.exact_routes().await.unwrap(), [other, support.clone()]);
    let twice = vec![support.clone(), support];
    assert_eq!(store.put_exact_routes(twice).await.unwrap_err().kind(), "refused");
    assert_eq!(store.exact_routes().await.unwrap().len(), 2);
    store.put_exact_routes(Vec::new()).await.unwrap();
    assert_eq!(store.exact_routes().await.unwrap(), []);
}
