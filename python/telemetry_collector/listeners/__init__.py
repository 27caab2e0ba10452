"""Ways in. A listener hands bytes and their sender's identity to a consumer; what comes after it, it does not know."""
