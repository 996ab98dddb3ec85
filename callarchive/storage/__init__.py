"""Where bytes come from and go to: landings that 8x8 pushes to, stores that we write, and S3 for both."""
