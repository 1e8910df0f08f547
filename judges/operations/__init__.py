"""What a judge service does, one file an operation: a coroutine of (service, request, context) giving the reply."""
