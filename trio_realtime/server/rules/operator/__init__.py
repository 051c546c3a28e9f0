"""What the operator decides over REST, in whoever's name; whether one may is not asked."""
