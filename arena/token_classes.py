"""What a token of a chain is for. Apart from the tasks, so that a report can name it without loading them."""

PLAN, EXECUTE, FORMAT, ANSWER = "plan", "execute", "format", "answer"
