"""The Linux kernel over rtnetlink."""
