//! Pictures that travel inside a URL (RFC 2397), which is how OpenAI sends bytes.

use std::borrow::Cow;

use crate::chat::ImageSource;

/// Reads where a picture is. `None` for a `data:` URL in another form than media type and base64, which goes on only as
/// it came.
pub(super) fn read(url: &str) -> Option<ImageSource> {
    let Some(data) = url.strip_prefix("data:") else { return Some(ImageSource::Url(url.to_owned())) };
    let (media_type, base64) = data.split_once(";base64,")?;
    let is_plain = !media_type.is_empty() && !media_type.contains([';', ',']);
    is_plain.then(|| ImageSource::Data { media_type: media_type.to_owned(), base64: base64.to_owned() })
}

/// Writes it back.
pub(super) fn write(source: &ImageSource) -> Cow<'_, str> {
    match source {
        ImageSource::Url(url) => Cow::Borrowed(url),
        ImageSource::Data { media_type, base64 } => Cow::Owned(format!("data:{media_type};base64,{base64}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_bytes_come_back_as_they_were() {
        for url in ["https://a.example/b.png", "data:image/png;base64,aGk=", "data:image/png;base64,"] {
            assert_eq!(write(&read(url).unwrap()), url);
        }
        for odd in ["data:image/png,abc", "data:;base64,aGk=", "data:image/svg+xml;charset=utf-8;base64,aGk="]
        {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
