"""What sources share: files, tables and tars read as samples, images decoded."""
