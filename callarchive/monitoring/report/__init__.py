"""The report for people who are not engineers: facts (`calls`), words (`wording`), files (`audio`), HTML (`page`)."""
