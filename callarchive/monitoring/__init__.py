"""What a person or an alert asks: checks, status, recordings at risk, traces, verification, diagnosis."""
