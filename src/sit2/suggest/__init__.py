"""Which images to label next: policies that choose them, and the table and page to label from."""
