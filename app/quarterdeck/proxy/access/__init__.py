"""Who a client is, which models it may use, how long its requests may take, and how many it may send."""
