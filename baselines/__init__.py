"""The methods that DLT is compared with. They import `dlt`; nothing in `dlt` imports them."""
