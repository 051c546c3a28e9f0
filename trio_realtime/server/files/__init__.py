"""Files of media messages: their bytes and what is known of them."""
